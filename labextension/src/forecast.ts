/** When a steady rise reaches its end: least squares over the last 20 seconds, silent unless the slope is steady. */

export type Reading = readonly [seconds: number, bytes: number | null];

const STEADY_SECONDS = 20;
const STEADY_FIT = 0.9;
const LONGEST_SECONDS = 3600;
const LEAST_READINGS = 8;

/** Bytes a second over the last 20 s, or null when there are too few readings, a gap, or no straight line. */
export function steadySlope(readings: readonly Reading[]): number | null {
  const last = readings[readings.length - 1];
  if (last === undefined) {
    return null;
  }
  const recent = readings.filter(([at]) => at >= last[0] - STEADY_SECONDS);
  const first = recent[0];
  if (
    recent.length < LEAST_READINGS ||
    first === undefined ||
    last[0] - first[0] < STEADY_SECONDS * 0.9
  ) {
    return null;
  }
  const known = recent.filter(
    (reading): reading is readonly [number, number] => reading[1] !== null
  );
  return known.length < recent.length ? null : fittedSlope(known);
}

function fittedSlope(
  points: readonly (readonly [number, number])[]
): number | null {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [atMean, usedMean] = [
    mean(points.map(([at]) => at)),
    mean(points.map(([, used]) => used))
  ];
  let [atAt, atUsed, usedUsed] = [0, 0, 0];
  for (const [at, used] of points) {
    atAt += (at - atMean) ** 2;
    atUsed += (at - atMean) * (used - usedMean);
    usedUsed += (used - usedMean) ** 2;
  }
  const fit = usedUsed === 0 ? 0 : atUsed ** 2 / (atAt * usedUsed);
  return fit < STEADY_FIT ? null : atUsed / atAt;
}

/** Seconds until `end` bytes at the present slope, or null where it does not rise steadily or not within an hour. */
export function secondsUntil(
  end: number | null,
  readings: readonly Reading[]
): number | null {
  const slope = steadySlope(readings);
  const now = readings[readings.length - 1]?.[1] ?? null;
  if (end === null || slope === null || now === null || slope <= 0) {
    return null;
  }
  const seconds = (end - now) / slope;
  return seconds > 0 && seconds <= LONGEST_SECONDS ? seconds : null;
}
