// Which rows of a long list are near the window, when the height of every row is known. Pure.

export interface Slice {
  start: number;
  end: number;
  /** Empty space that stands for the rows before and after. */
  before: number;
  after: number;
}

/** Lists up to this length are drawn whole: searching in the page then finds every row. */
export const VIRTUAL_FROM = 60;
/** Rows kept on both sides of the window, so that scrolling meets drawn ones. */
const MARGIN_PX = 400;

/** `top` is where the list begins in relation to the window's upper edge; it is negative once scrolled past. */
export function visibleSlice(heights: readonly number[], top: number, windowHeight: number): Slice {
  if (heights.length <= VIRTUAL_FROM) return { start: 0, end: heights.length, before: 0, after: 0 };
  const from = -top - MARGIN_PX;
  const to = -top + windowHeight + MARGIN_PX;
  let offset = 0;
  let start = 0;
  while (start < heights.length - 1 && offset + (heights[start] ?? 0) < from) offset += heights[start++] ?? 0;
  const before = offset;
  let end = start;
  while (end < heights.length && offset < to) offset += heights[end++] ?? 0;
  const total = heights.reduce((sum, height) => sum + height, 0);
  return { start, end, before, after: total - offset };
}
