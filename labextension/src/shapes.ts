/** Whether something is what its type says: the types of messages.ts, checked while the page runs. */

import { SHAPES } from './messages';

type Check = (value: unknown) => boolean;

const PLAIN: Readonly<Record<string, Check>> = {
  string: value => typeof value === 'string',
  number: value => typeof value === 'number',
  boolean: value => typeof value === 'boolean',
  null: value => value === null,
  unknown: () => true
};

const checks = new Map<string, Check>();

/** Whether `value` has the type that is called `type` in messages.ts; fields that it has besides do not matter. */
export function conforms(value: unknown, type: string): boolean {
  let check = checks.get(type);
  if (check === undefined) {
    check = checkOf(type);
    checks.set(type, check);
  }
  return check(value);
}

function checkOf(type: string): Check {
  const list = /^readonly \(?(.*?)\)?\[\]$/.exec(type)?.[1];
  if (list !== undefined && !/\]| \| readonly/.test(list)) {
    return value => Array.isArray(value) && value.every(item => conforms(item, list));
  }
  if (type.includes(' | ')) {
    const parts = type.split(' | ');
    return value => parts.some(part => conforms(value, part));
  }
  if (type.startsWith("'")) {
    return value => value === type.slice(1, -1);
  }
  if (type.startsWith('Readonly<')) {
    return value => typeof value === 'object' && value !== null && !Array.isArray(value);
  }
  const fields = Object.entries(SHAPES[type] ?? {});
  return (
    PLAIN[type] ??
    (value =>
      typeof value === 'object' &&
      value !== null &&
      fields.every(([name, field]) => conforms((value as Record<string, unknown>)[name], field)))
  );
}
