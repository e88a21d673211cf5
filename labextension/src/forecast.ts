/** When a steady rise reaches its end, and how sure that is: least squares over the last 20 seconds, else silence. */

export type Reading = readonly [seconds: number, bytes: number | null];

/** Seconds to the end. `soonest` and `latest` bound it as far as those 20 s tell; `latest` is null where it may never come. */
export interface Forecast {
  readonly seconds: number;
  readonly soonest: number;
  readonly latest: number | null;
}

/** Bytes a second, and the least and the most that the readings allow. */
export interface Slope {
  readonly slope: number;
  readonly least: number;
  readonly most: number;
}

type Point = readonly [at: number, used: number];

export const STEADY_SECONDS = 20;
const STEADY_FIT = 0.9;
const LONGEST_SECONDS = 3600;
const LEAST_READINGS = 8;
const ERRORS = 2.5; // standard errors on either side: 95 % for a slope, with room for the noise of the last reading

/** The slope over the last 20 s, or null when there are too few readings, a gap, or no straight line. */
export function steadySlope(readings: readonly Reading[]): Slope | null {
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
  const known = recent.filter((reading): reading is Point => reading[1] !== null);
  const line = known.length < recent.length ? null : fitted(known);
  if (line === null || line.fit < STEADY_FIT) {
    return null;
  }
  // Memory does not rise with independent noise: a slope that changes shows in the halves, not in the error.
  const middle = Math.floor(known.length / 2);
  const halves = [known.slice(0, middle), known.slice(middle)].map(
    half => fitted(half)?.slope ?? line.slope
  );
  return {
    slope: line.slope,
    least: Math.min(line.slope - ERRORS * line.error, ...halves),
    most: Math.max(line.slope + ERRORS * line.error, ...halves)
  };
}

/** The straight line through the points: its slope, the slope's standard error, and the share that it explains. */
function fitted(points: readonly Point[]): { slope: number; error: number; fit: number } | null {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [atMean, usedMean] = [mean(points.map(([at]) => at)), mean(points.map(([, used]) => used))];
  let [atAt, atUsed, usedUsed] = [0, 0, 0];
  for (const [at, used] of points) {
    atAt += (at - atMean) ** 2;
    atUsed += (at - atMean) * (used - usedMean);
    usedUsed += (used - usedMean) ** 2;
  }
  if (points.length < 3 || atAt === 0) {
    return null;
  }
  const fit = usedUsed === 0 ? 0 : atUsed ** 2 / (atAt * usedUsed);
  const left = Math.max(0, usedUsed - atUsed ** 2 / atAt);
  return { slope: atUsed / atAt, error: Math.sqrt(left / (points.length - 2) / atAt), fit };
}

/** When `end` bytes are reached at the present slope, or null where it does not rise steadily or not within an hour. */
export function timeTo(end: number | null, readings: readonly Reading[]): Forecast | null {
  const rise = steadySlope(readings);
  const now = readings[readings.length - 1]?.[1] ?? null;
  if (end === null || rise === null || now === null || rise.slope <= 0) {
    return null;
  }
  const left = end - now;
  const seconds = left / rise.slope;
  if (!(seconds > 0 && seconds <= LONGEST_SECONDS)) {
    return null;
  }
  return { seconds, soonest: left / rise.most, latest: rise.least > 0 ? left / rise.least : null };
}
