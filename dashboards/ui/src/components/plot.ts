// The only file that knows uPlot. Draws columns as lines or as a stack, and reports the pointer and a dragged range.
// Nothing from the wire becomes HTML here: axes draw text on the canvas, names stay with the caller.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Num } from '../api/types.ts';
import { LOOKS, type Look } from '../view/roles.ts';
import { axisSplits } from '../view/series.ts';

export interface PlotSeries {
  key: string;
  look: Look;
}

export interface PlotFrame {
  t: number[];
  columns: Num[][];
  from: number;
  to: number;
  top: number;
}

export interface PlotOptions {
  series: readonly PlotSeries[];
  stacked: boolean;
  width: number;
  height: number;
  formatTime(ms: number): string;
  formatValue(value: number): string;
  marks(): readonly number[];
  onPoint(t: number | null): void;
  onRange(from: number, to: number): void;
}

const AXIS_WIDTH = 56;
const AXIS_HEIGHT = 24;
/** A drag shorter than this is a click. */
const DRAG_MIN_PX = 6;
/** A share holds for its whole window: a slope would show parts that no window had. */
const STEPPED = uPlot.paths.stepped!({ align: 1 });
/** Of the font below: digits and colons. */
const LABEL_CHAR_PX = 6.2;
const FONT = '11px system-ui, sans-serif';

export class Plot {
  readonly #plot: uPlot;
  #frame: PlotFrame;

  constructor(host: HTMLElement, options: PlotOptions, frame: PlotFrame) {
    this.#frame = frame;
    const colors = readColors(host);
    this.#plot = new uPlot(this.#options(options, colors), dataOf(frame), host);
  }

  setFrame(frame: PlotFrame): void {
    this.#frame = frame;
    this.#plot.setData(dataOf(frame), true);
  }

  setSize(width: number, height: number): void {
    if (width !== this.#plot.width || height !== this.#plot.height) this.#plot.setSize({ width, height });
  }

  /** Puts the crosshair at a time, or takes it away, without reporting it. */
  setPoint(t: number | null): void {
    const over = this.#plot.over;
    const left = t === null ? -10 : this.#plot.valToPos(t, 'x');
    this.#plot.setCursor({ left, top: t === null ? -10 : over.clientHeight / 2 }, false);
  }

  destroy(): void {
    this.#plot.destroy();
  }

  #options(options: PlotOptions, colors: Colors): uPlot.Options {
    const axis = { font: FONT, stroke: colors.text, ticks: { show: false } };
    return {
      width: options.width,
      height: options.height,
      ms: 1,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { size: 7, width: 1 },
        drag: { x: true, y: false, setScale: false, dist: DRAG_MIN_PX },
      },
      scales: {
        x: { range: () => [this.#frame.from, this.#frame.to] },
        y: { range: () => [0, this.#frame.top] },
      },
      axes: [
        {
          ...axis,
          size: AXIS_HEIGHT,
          space: 70,
          grid: { show: false },
          values: (plot, splits) => splits.map((ms) => (fitsAxis(plot, ms, options.formatTime(ms)) ? options.formatTime(ms) : null)),
        },
        {
          ...axis,
          size: AXIS_WIDTH,
          splits: () => axisSplits(this.#frame.top),
          gap: 6,
          grid: { stroke: colors.grid, width: 1 },
          values: (_, splits) => splits.map((value) => options.formatValue(value)),
        },
      ],
      series: [{}, ...options.series.map((series, i) => seriesOptions(series, colors, options.stacked, i))],
      bands: options.stacked ? stackBands(options.series, colors) : [],
      hooks: {
        draw: [(plot) => drawMarks(plot, options.marks(), colors.mark)],
        setCursor: [(plot) => options.onPoint(pointOf(plot))],
        setSelect: [
          (plot) => {
            if (plot.select.width < DRAG_MIN_PX) return;
            const from = plot.posToVal(plot.select.left, 'x');
            const to = plot.posToVal(plot.select.left + plot.select.width, 'x');
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            options.onRange(Math.round(from), Math.round(to));
          },
        ],
      },
    };
  }
}

/** Whether a label below its tick lies within the canvas: half a time says less than none. */
function fitsAxis(plot: uPlot, ms: number, label: string): boolean {
  const half = (label.length * LABEL_CHAR_PX) / 2;
  const at = plot.bbox.left / devicePixelRatio + plot.valToPos(ms, 'x');
  return at - half >= 0 && at + half <= plot.width;
}

function dataOf(frame: PlotFrame): uPlot.AlignedData {
  return [frame.t, ...frame.columns] as uPlot.AlignedData;
}

function pointOf(plot: uPlot): number | null {
  const { idx, left } = plot.cursor;
  if (idx == null || left === undefined || left < 0) return null;
  return plot.data[0]?.[idx] ?? null;
}

function seriesOptions(series: PlotSeries, colors: Colors, stacked: boolean, i: number): uPlot.Series {
  const look = LOOKS[series.look];
  const color = colors.looks[series.look];
  return {
    label: series.key,
    stroke: color,
    width: stacked ? 1 : look.width,
    dash: stacked ? [] : look.dash,
    ...(stacked ? { paths: STEPPED } : {}),
    ...(stacked && i === 0 ? { fill: withAlpha(color, 0.45) } : {}),
    // A value between two gaps has no line; it gets a point, so that it is not lost.
    points: { size: 4, fill: color, filter: (plot, seriesIndex) => loneValues(plot.data[seriesIndex] ?? []) },
  };
}

function stackBands(series: readonly PlotSeries[], colors: Colors): uPlot.Band[] {
  return series.slice(1).map((each, i) => ({
    series: [i + 2, i + 1] as [number, number],
    fill: withAlpha(colors.looks[each.look], 0.6),
  }));
}

function loneValues(values: ArrayLike<number | null | undefined>): number[] {
  const lone: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) lone.push(i);
  }
  return lone;
}

function drawMarks(plot: uPlot, times: readonly number[], color: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  for (const t of times) {
    const x = Math.round(plot.valToPos(t, 'x', true)) + 0.5;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}

interface Colors {
  text: string;
  grid: string;
  mark: string;
  looks: Record<Look, string>;
}

/** A custom property keeps `light-dark()` unresolved, so each colour is read from an element that uses it. */
function readColors(host: HTMLElement): Colors {
  const probe = document.createElement('span');
  host.append(probe);
  const read = (name: string) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const looks = Object.fromEntries(Object.keys(LOOKS).map((look) => [look, read(`--${look}`)])) as Record<Look, string>;
  const colors = { text: read('--text-2'), grid: read('--grid'), mark: read('--text-3'), looks };
  probe.remove();
  return colors;
}

/** Computed colours have the form `rgb(r, g, b)`. */
function withAlpha(color: string, alpha: number): string {
  return color.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}
