/** Elements as values: build what a view should look like, and bring the page there without losing focus. */

export type Child = Node | string | null | false | undefined;
type Attributes = Readonly<
  Record<string, string | number | boolean | null | undefined>
>;

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element; text children stay text, whatever they hold. `false`, `null` and `undefined` are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(
  tag: string,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElement {
  return fill(
    document.createElementNS(SVG, tag) as SVGElement,
    attributes,
    children
  );
}

function fill<T extends Element>(
  element: T,
  attributes: Attributes,
  children: readonly Child[]
): T {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(
    ...children.filter(
      (child): child is Node | string =>
        child !== null &&
        child !== undefined &&
        child !== false &&
        child !== ''
    )
  );
  return element;
}

/**
 * An element that is built only where the page does not show it in this `edition` yet: `edition` names everything that
 * can be seen of it.
 */
export function memo(
  tag: keyof HTMLElementTagNameMap,
  key: string,
  edition: string,
  build: () => Element
): HTMLElement {
  const standIn = h(tag, { 'data-key': key });
  builds.set(standIn, build);
  editions.set(standIn, edition);
  return standIn;
}

const builds = new WeakMap<Node, () => Element>();
const editions = new WeakMap<Node, string>();

/** What `node` stands for, with nothing in it left to build. */
function built(node: Node): Node {
  const whole = unfolded(node);
  for (const child of Array.from(whole.childNodes)) {
    const grown = built(child);
    if (grown !== child) {
      whole.replaceChild(grown, child);
    }
  }
  return whole;
}

/** What `node` stands for; what is in it may still be stand-ins. */
function unfolded(node: Node): Node {
  const build = builds.get(node);
  if (build === undefined || !(node instanceof Element)) {
    return node;
  }
  const element = build();
  element.setAttribute('data-key', node.getAttribute('data-key') ?? '');
  editions.set(element, editions.get(node) ?? '');
  return element;
}

/**
 * Make the children of `parent` look like `wanted`, keeping every node that can stay: a focused button keeps its
 * focus, an open list stays open, and a bar glides to its new width.
 */
export function patch(parent: Element, wanted: readonly Node[]): void {
  const present = Array.from(parent.childNodes);
  wanted.forEach((node, index) => {
    const old = present[index];
    if (old === undefined) {
      parent.append(built(node));
    } else if (isSame(old, node)) {
      update(old, node);
    } else {
      parent.replaceChild(built(node), old);
    }
  });
  present.slice(wanted.length).forEach(node => parent.removeChild(node));
}

function isSame(old: Node, node: Node): boolean {
  return (
    old.nodeName === node.nodeName &&
    (!(old instanceof Element && node instanceof Element) ||
      old.getAttribute('data-key') === node.getAttribute('data-key'))
  );
}

function update(old: Node, standIn: Node): void {
  if (!(old instanceof Element && standIn instanceof Element)) {
    if (old.nodeValue !== standIn.nodeValue) {
      old.nodeValue = standIn.nodeValue;
    }
    return;
  }
  const edition = editions.get(standIn);
  if (edition !== undefined && edition === editions.get(old)) {
    return;
  }
  const node = unfolded(standIn) as Element;
  if (edition !== undefined) {
    editions.set(old, edition);
  }
  for (const name of old.getAttributeNames()) {
    if (!node.hasAttribute(name)) {
      old.removeAttribute(name);
    }
  }
  for (const name of node.getAttributeNames()) {
    const value = node.getAttribute(name) ?? '';
    if (old.getAttribute(name) !== value) {
      old.setAttribute(name, value);
    }
  }
  patch(old, Array.from(node.childNodes));
}
