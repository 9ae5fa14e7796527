/** The next 1, 2, 2.5 or 5 times a power of ten at or above a value. */
export function niceMax(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 2.5, 5, 10]) if (value <= step * power) return step * power;
  return 10 * power;
}

/** An SVG path through points. */
export function pathOf(points: { x: number; y: number }[]): string {
  return points
    .map((point, index) => `${index === 0 ? "M" : "L"}${point.x.toFixed(1)},${point.y.toFixed(1)}`)
    .join("");
}

/** How many times the usual height a single peak may be before it is cut off. */
const PEAK_MAX = 6;

/**
 * The top of a live scale. A short burst, such as the rows at a start, must not press all else flat, so that what lies
 * far above nineteen of twenty samples is cut off; a flat line at 0 with a burst keeps the burst.
 */
export function scaleMax(values: number[], least: number): number {
  const ordered = values.toSorted((a, b) => a - b);
  const peak = ordered.at(-1) ?? 0;
  const usual = ordered[Math.floor((ordered.length - 1) * 0.95)] ?? 0;
  return niceMax(Math.max(least, usual > 0 && peak > usual * PEAK_MAX ? usual * 1.5 : peak));
}
