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
 * Make the children of `parent` look like `wanted`, keeping every node that can stay: a focused button keeps its
 * focus, an open list stays open, and a bar glides to its new width.
 */
export function patch(parent: Element, wanted: readonly Node[]): void {
  const present = Array.from(parent.childNodes);
  wanted.forEach((node, index) => {
    const old = present[index];
    if (old === undefined) {
      parent.append(node);
    } else if (!(isSame(old, node) && update(old, node))) {
      parent.replaceChild(node, old);
    }
  });
  present.slice(wanted.length).forEach(node => parent.removeChild(node));
}

/** What stands for a part of the page that is as it was drawn in `edition`: `patch` leaves everything in it alone. */
export function unchanged(key: string, edition: string): HTMLElement {
  return h('div', { 'data-key': key, 'data-edition': edition });
}

function isSame(old: Node, node: Node): boolean {
  return (
    old.nodeName === node.nodeName &&
    (!(old instanceof Element && node instanceof Element) ||
      old.getAttribute('data-key') === node.getAttribute('data-key'))
  );
}

function update(old: Node, node: Node): boolean {
  if (!(old instanceof Element && node instanceof Element)) {
    if (old.nodeValue !== node.nodeValue) {
      old.nodeValue = node.nodeValue;
    }
    return true;
  }
  const edition = node.getAttribute('data-edition');
  if (edition !== null && edition === old.getAttribute('data-edition')) {
    return true;
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
  return true;
}
