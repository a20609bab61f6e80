// The overview: one analysis as one picture, drawn from the arrays of one JSON, without a request.
// Used by the page, the standalone export and the gallery. Layers count from 0 in the data and from
// 1 on the screen; a token is a patch, row by row, or, after all patches, a learned prompt. What a
// visitor typed reaches the page as text nodes only.
(() => {
"use strict";

// ---- Arrays -------------------------------------------------------------------------------------

const decoded = new WeakMap();

/** Values of an encoded array, flat, row-major; NaN (never in bits) where there is none. */
function decode(tensor) {
  // The page may patch an array in place, so the text itself says whether it is still the same.
  const known = decoded.get(tensor);
  if (known?.text === tensor.b) return known.values;
  const values = unpack(tensor);
  decoded.set(tensor, { text: tensor.b, values });
  return values;
}

function unpack({ t, n, b, lo, hi }) {
  const raw = atob(b), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  if (t === "f4") return new Float32Array(bytes.buffer);
  if (t === "u1") return Float32Array.from(bytes, byte => (byte === 255 ? NaN : lo + (hi - lo) * byte / 254));
  const bits = new Uint8Array(n.reduce((size, axis) => size * axis, 1));
  for (let i = 0; i < bits.length; i++) bits[i] = bytes[i >> 3] >> (7 - (i & 7)) & 1;
  return bits;
}

/** The part of an encoded array at these leading indices, flat, not copied. */
function part(tensor, ...at) {
  const values = decode(tensor);
  let size = values.length, start = 0;
  at.forEach((index, axis) => { size /= tensor.n[axis]; start += index * size; });
  return values.subarray(start, start + size);
}

function largest(values) {
  let top = -Infinity;
  for (const value of values) if (value > top) top = value;
  return top;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const sizes = values => Float32Array.from(values, Math.abs);
const total = values => values.reduce((sum, value) => sum + (value || 0), 0);
const minus = (a, b) => a.map((value, i) => value - b[i]);

/** Indices of the values that are numbers, the largest first. */
function ranking(values) {
  return [...values.keys()].filter(i => !Number.isNaN(values[i])).sort((a, b) => values[b] - values[a]);
}

/** The largest value that does not stand far apart: below Q3 + 3 (Q3 - Q1), where METHOD.md 3.6 has sinks begin. */
function largestUsual(values) {
  const sorted = values.filter(value => !Number.isNaN(value)).sort();
  const at = share => sorted[Math.floor(share * (sorted.length - 1))] ?? 0, fence = 4 * at(0.75) - 3 * at(0.25);
  return largest(sorted.filter(value => value <= fence));
}

// ---- Numbers as words ---------------------------------------------------------------------------

const missing = value => value === undefined || value === null || Number.isNaN(value);
const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
/** Three digits; a number below 0.001 by its power of ten. */
function three(value) {
  if (missing(value)) return "–";
  if (!value || Math.abs(value) >= 0.001) return String(Number(value.toPrecision(3))).replace("-", "−");
  const [digits, power] = value.toExponential(2).split("e-");
  return `${digits.replace("-", "−")}·10⁻${[...power].map(digit => RAISED[digit]).join("")}`;
}
const two = value => (missing(value) ? "–" : value.toFixed(2));
const signed = value => (missing(value) ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "") + three(Math.abs(value)));
const times = value => (value > 0 && value < 0.05 ? "< 0.1×" : `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)}×`);
const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
const percent = value => (missing(value) ? "–" : `${(100 * value).toFixed(value > 0 && value < 0.0995 ? 1 : 0)} %`);

// ---- Colours ------------------------------------------------------------------------------------

/** 256 colours, RGB, between equally spaced stops. */
function ramp(hex) {
  const stops = hex.match(/../g).map(pair => parseInt(pair, 16)), last = stops.length / 3 - 1;
  return Uint8Array.from({ length: 768 }, (_, i) => {
    const at = (i - i % 3) / 765 * last, low = Math.min(last - 1, Math.floor(at)), channel = i % 3;
    return Math.round(stops[3 * low + channel] * (low + 1 - at) + stops[3 * low + 3 + channel] * (at - low));
  });
}

const CIVIDIS = ramp("00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f7073"
  + "7676767d7c788482798c8878938e789b9476a39a74aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03afee838");
const SIGNED = ramp("08306b2878b89ecae1f7f7f7fdae6be6550d7f2704");

/** A colour scale from 0 up, or about 0; `clipped` where some values lie above it. */
const upTo = (top, clipped = false) => ({ low: 0, high: top || 1, table: CIVIDIS, clipped });
const about0 = top => ({ low: -(top || 1), high: top || 1, table: SIGNED, clipped: false });

/** The place of a value's colour in the scale's table. */
function shade(scale, value) {
  return 3 * Math.round(255 * clamp((value - scale.low) / (scale.high - scale.low), 0, 1));
}

function cssColour(scale, value) {
  const at = shade(scale, value);
  return `rgb(${scale.table.slice(at, at + 3).join(",")})`;
}

/** Dark or light text, whichever reads better on the colour of a value. */
function inkOn(scale, value) {
  const at = shade(scale, value);
  const [red, green, blue] = [...scale.table.slice(at, at + 3)].map(one => (one / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
}

/** RGBA of `count` patches on a scale; clear where there is no value. */
function tint(values, scale, opacity, count) {
  const colours = new Uint8ClampedArray(4 * count);
  for (let i = 0; i < count; i++) {
    if (Number.isNaN(values[i])) continue;
    const at = shade(scale, values[i]);
    for (let c = 0; c < 3; c++) colours[4 * i + c] = scale.table[at + c];
    colours[4 * i + 3] = Math.round(255 * opacity);
  }
  return colours;
}

/** Sets all pixels of a canvas. */
function setPixels(canvas, colours) {
  canvas.getContext("2d").putImageData(new ImageData(colours, canvas.width, canvas.height), 0, 0);
}

const rgbOf = hex => hex.match(/[^#]./g).map(pair => parseInt(pair, 16));

// ---- Elements -----------------------------------------------------------------------------------

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Replaces a node's text only where it differs, so that nothing is announced or laid out twice. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const BRACKETS = { "[": -1, "]": 1 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Hears a node's arrow keys, as steps to the right and down, before what is around it does. */
function onArrows(node, act) {
  node.addEventListener("keydown", event => {
    if (!ARROWS[event.key] || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    act(...ARROWS[event.key]);
  });
}

/** Fills a node with its options, anew only where they are others than before. */
function filler(node, build) {
  let key = "";
  return options => {
    const wanted = JSON.stringify(options);
    if (wanted !== key) node.replaceChildren(...options.map(build));
    key = wanted;
  };
}

/** A choice of one among few, moved by arrow keys as radio buttons are. */
function choice(label, pick) {
  const node = el("div", { class: "choice", role: "radiogroup", "aria-label": label });
  const fill = filler(node, ([name, text, title]) =>
    el("button", { type: "button", role: "radio", "data-value": name, title, onclick: () => pick(name) }, text));
  onArrows(node, (right, down) => {
    const buttons = [...node.children], at = buttons.indexOf(document.activeElement) + right + down;
    const next = buttons[(at + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  const show = (options, value) => {
    fill(options);
    for (const button of node.children) {
      const on = button.dataset.value === String(value);
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
    }
  };
  return { node, show };
}

function dropdown(label, pick) {
  const node = el("select", { "aria-label": label, onchange: () => pick(node.value) });
  const fill = filler(node, ([name, text]) => el("option", { value: name }, text));
  const show = (options, value) => {
    fill(options);
    node.value = value;
  };
  return { node, show };
}

/** A colour bar: its colours, what its ends mean, and what it shows. */
function colourBar() {
  const strip = el("canvas", { width: 256, height: 1, class: "ramp", "aria-hidden": "true" });
  const low = el("span"), middle = el("span"), high = el("span");
  const tick = el("i", { class: "tick", hidden: true });
  const node = el("div", { class: "bar" }, el("div", { class: "ramp-box" }, strip, tick),
    el("div", { class: "ends" }, low, middle, high));
  const show = (colours, ends, mark = null) => {
    setPixels(strip, colours);
    [low, middle, high].forEach((end, i) => say(end, ends[i]));
    tick.hidden = mark === null;
    if (mark !== null) tick.style.left = `${100 * mark}%`;
  };
  const scale = (one, ends, mark) => {
    const values = Float32Array.from({ length: 256 }, (_, i) => one.low + (one.high - one.low) * i / 255);
    show(tint(values, one, 1, 256), ends, mark);
  };
  return { node, show, scale };
}

// ---- What a payload holds -----------------------------------------------------------------------

/** A payload as questions that have an answer; answers are kept until the next payload. */
function read(payload) {
  const [rows, columns] = payload.grid, patches = rows * columns, [a, b] = payload.pair;
  const draws = payload.draws, summary = draws?.summary;
  const places = (draws?.batches ?? []).flatMap(batch => batch.seeds.map((_, index) => ({ batch, index })));
  const answers = new Map();
  const kept = (key, compute) => {
    if (!answers.has(key)) answers.set(key, compute());
    return answers.get(key);
  };
  const layers = Array.from({ length: payload.layers }, (_, i) => i), dropping = layers.slice(0, payload.depth);
  const label = name => payload.labels[name];
  const nothing = new Float32Array(patches).fill(NaN);
  /** "eligible", "dropped" or "p" of a draw's tokens after a layer. */
  const ofDraw = (what, name, place, layer) => part(place.batch[what][name], place.index, layer);
  const both = (place, layer) => {
    const other = ofDraw("eligible", b, place, layer);
    return ofDraw("eligible", a, place, layer).map((may, i) => may & other[i]);
  };
  const mapCount = (batch, name) => batch.maps?.[name].n[0] ?? 0;
  const model = {
    payload, rows, columns, patches, a, b, label, layers, nothing, depth: payload.depth, count: places.length,
    /** A condition's name within a sentence: "vanilla dropout", but "IWTD". */
    inText: name => label(name).replace(/^[A-Z](?=[a-z])/, first => first.toLowerCase()),
    inBrackets: name => model.inText(name).replace(/ (dropout|IWTD|alone)$/, ""),
    short: name => label(name).replace(/ (dropout|alone)$/, ""),
    /** The branch that the dropouts act on, where another one is looked at. */
    elsewhere: branch => (branch === payload.pair_branch ? "" : model.inText(payload.pair_branch)),
    shown: payload.shown.map(index => payload.classes[index]),
    conditions: [...payload.branches, a, b],
    tokenName: token => (token < patches
      ? `row ${Math.floor(token / columns) + 1}, column ${token % columns + 1}` : `prompt ${token - patches + 1}`),
    shortName: token => (token < patches
      ? `r${Math.floor(token / columns) + 1} c${token % columns + 1}` : `P${token - patches + 1}`),

    /** The three tokens of the largest values, in words. */
    told: (values, write) => ranking(sizes(values)).slice(0, 3).map(token => `${model.tokenName(token)}, ${write(values[token])}`).join("; "),

    /** Importance in multiples of an even share. */
    times: (branch, signal, layer) => kept(`t ${branch} ${signal} ${layer}`, () => {
      const shares = part(payload.importance[branch][signal], layer), count = shares.filter(share => !Number.isNaN(share)).length;
      return shares.map(share => share * count);
    }),
    /** Prompts among the patches after a layer. */
    prompts: (branch, layer) => part(payload.importance[branch].blend, layer).subarray(patches).filter(share => !Number.isNaN(share)).length,
    /** One scale for all layers, cut where sinks begin, which would darken the rest. */
    timesScale: (branch, signal) => kept(`ts ${branch} ${signal}`, () => {
      const all = Float32Array.from(layers.flatMap(layer => [...model.times(branch, signal, layer)]));
      // At least twice an even share: what is far below one must not look important.
      const top = largest(all), high = Math.max(2, largestUsual(all));
      return upTo(high, top > high);
    }),
    ranked: (branch, signal, layer) => kept(`r ${branch} ${signal} ${layer}`, () => ranking(model.times(branch, signal, layer))),

    /** p of a strategy: of the draw, or of the undropped forward. */
    p: (name, layer, draw) => (draw === "all" || name === "ranked"
      ? part(payload.p[name], layer) : ofDraw("p", name, places[draw - 1], layer)),
    /** p on the undropped forward; beside ranked importance, vanilla dropout has the mean of its p. */
    expected: (name, layer, ranked) => kept(`e ${name} ${layer} ${ranked}`, () => {
      const values = part(payload.p[ranked && name === a ? "ranked" : name], layer);
      if (!ranked || name !== "vanilla") return values;
      const known = part(payload.p.ranked, layer).filter(p => !Number.isNaN(p)), mean = total(known) / known.length;
      return values.map(() => mean);
    }),
    /** p(A) - p(B): of one draw, the mean over draws, or ranked, on the undropped forward. */
    difference: (layer, draw, ranked) => kept(`d ${layer} ${draw} ${ranked}`, () => {
      if (ranked || !summary) return minus(model.expected(a, layer, ranked), model.expected(b, layer, ranked));
      if (draw === "all") return part(summary.difference, layer);
      const may = both(places[draw - 1], layer);
      return minus(model.p(a, layer, draw), model.p(b, layer, draw)).map((value, i) => (may[i] ? value : NaN));
    }),
    /** One scale for all layers and draws; ranked importance may reach beyond it. */
    differenceScale: ranked => kept(`ds ${ranked}`, () => {
      const numbers = summary ? ["all", ...places.map((_, i) => i + 1)] : ["all"];
      const top = given => Math.max(0, ...dropping.flatMap(layer => numbers.map(draw => largest(sizes(model.difference(layer, draw, given))))));
      const scale = about0(top(false));
      return { ...scale, clipped: ranked && top(true) > scale.high };
    }),
    /** Draws in which each token was there to drop, and was dropped; in which both could, and exactly one did. */
    tally: layer => kept(`n ${layer}`, () => {
      const none = () => new Int32Array(decode(summary.differ).length / payload.depth);
      const there = { [a]: none(), [b]: none() }, dropped = { [a]: none(), [b]: none() };
      const [met, differ, lean] = [none(), none(), none()];
      for (const place of places) {
        const [mayA, mayB] = [a, b].map(name => ofDraw("eligible", name, place, layer));
        const [dropA, dropB] = [a, b].map(name => ofDraw("dropped", name, place, layer));
        for (let i = 0; i < met.length; i++) {
          there[a][i] += mayA[i];
          there[b][i] += mayB[i];
          dropped[a][i] += mayA[i] & dropA[i];
          dropped[b][i] += mayB[i] & dropB[i];
          if (!(mayA[i] & mayB[i])) continue;
          met[i] += 1;
          differ[i] += dropA[i] ^ dropB[i];
          lean[i] += dropB[i] - dropA[i];
        }
      }
      return { there, dropped, met, differ, lean };
    }),
    /** Mean p over the draws in which both could still drop the token. */
    meanP: (name, layer) => kept(`mp ${name} ${layer}`, () => {
      const { met } = model.tally(layer), sums = new Float64Array(met.length);
      for (const place of places) {
        const may = both(place, layer), p = ofDraw("p", name, place, layer);
        for (let i = 0; i < sums.length; i++) if (may[i]) sums[i] += p[i];
      }
      return sums.map((sum, i) => sum / met[i]);
    }),
    /** Draws in which exactly one of the two dropped the token: above 0 where more often only A keeps it. */
    differing: (layer, ranked) => kept(`s ${layer} ${ranked}`, () => {
      // With the same random numbers for both, exactly one drops a token with probability |p(A) - p(B)|.
      if (ranked || !summary) return model.difference(layer, "all", ranked).map(value => -value);
      const { differ, lean } = model.tally(layer);
      return differ.map((count, i) => (lean[i] < 0 ? -count : count));
    }),
    differingTop: ranked => kept(`st ${ranked}`, () =>
      Math.max(0, ...dropping.map(layer => largest(sizes(model.differing(layer, ranked).subarray(0, patches))))) || 1),
    /** How often a dropout drops each token: in how many draws; before any draw, and ranked, p. */
    often: (name, layer, ranked) => kept(`o ${name} ${layer} ${ranked}`, () =>
      (ranked || !summary ? model.expected(name, layer, ranked) : Float32Array.from(model.tally(layer).dropped[name]))),
    oftenScale: ranked => kept(`os ${ranked}`, () =>
      upTo(Math.max(0, ...dropping.flatMap(layer => [a, b].map(name => largest(model.often(name, layer, ranked))))))),
    /** One draw's decisions: "" none drops, "a" only A keeps, "b" only B keeps, "both" drop, "gone" before. */
    decisions: (layer, draw) => kept(`w ${layer} ${draw}`, () => {
      const place = places[draw - 1], may = both(place, layer);
      const [one, other] = [a, b].map(name => ofDraw("dropped", name, place, layer));
      return Array.from(may, (on, i) => (!on ? "gone" : one[i] && other[i] ? "both" : other[i] ? "a" : one[i] ? "b" : ""));
    }),
    /** What one of the two does in one draw: "drop", "gone" before, "" keeps. */
    dropsOf: (name, layer, draw) => {
      const place = places[draw - 1], drop = ofDraw("dropped", name, place, layer);
      return Array.from(ofDraw("eligible", name, place, layer), (may, i) => (!may ? "gone" : drop[i] ? "drop" : ""));
    },
    rate: (name, layer) => (summary ? part(summary.rate[name], layer) : null),

    /** Grad-CAM (patches) of a shown class; null where this draw has no map. */
    map: (condition, index, draw) => {
      if (payload.branches.includes(condition)) return part(payload.maps.values[condition], index);
      if (draw !== "all") {
        const { batch, index: at } = places[draw - 1];
        return at < mapCount(batch, condition) ? part(batch.maps[condition], at, index) : null;
      }
      if (summary?.mean_maps) return part(summary.mean_maps[condition], index);
      return payload.maps.values[condition] ? part(payload.maps.values[condition], index) : null;
    },
    /** The class's map, less the mean over the shown classes where asked. */
    shownMap: (condition, index, draw, centred) => kept(`m ${condition} ${index} ${draw} ${centred}`, () => {
      const map = model.map(condition, index, draw);
      if (!map || !centred) return map;
      const all = model.shown.map((_, i) => model.map(condition, i, draw));
      return map.map((value, i) => value - all.reduce((sum, one) => sum + one[i], 0) / all.length);
    }),
    mapScale: (index, draw, centred) => kept(`ms ${index} ${draw} ${centred}`, () => {
      const maps = model.conditions.map(name => model.shownMap(name, index, draw, centred)).filter(Boolean);
      const below = maps.some(map => map.some(value => value < 0));
      return (below ? about0 : upTo)(Math.max(0, ...maps.map(map => largest(below ? sizes(map) : map))));
    }),
    /** The first draws have maps, so many so far. */
    mapped: places.filter(({ batch, index }) => index < mapCount(batch, a)).length,
    probability: (branch, index) => decode(payload.probabilities[branch])[index],
    cosine: (branch, index) => decode(payload.cosines[branch])[index],
    drawn: (name, index) => places.map(place => part(place.batch.probabilities[name], place.index)[index]),
    interval: (name, index) => summary && Object.fromEntries(["mean", "low", "high"].map(key =>
      [key, decode(summary.probability[name][key])[index]])),
  };
  return model;
}

/** A state that this payload can show, as near to the wanted one as may be. */
function fitted(state, model) {
  const { payload } = model, branch = payload.branches.includes(state.branch) ? state.branch : payload.branches.at(-1);
  const signals = payload.signals.filter(name => payload.importance[branch][name]);
  const best = ranking(decode(payload.probabilities[payload.pair_branch])).map(index => payload.classes[index]);
  const telling = () => ranking(Float32Array.from({ length: model.depth }, (_, layer) =>
    total(sizes(model.difference(layer, "all", false)))))[0] ?? 0;
  return {
    ...state, branch,
    layer: clamp(state.layer ?? telling(), 0, model.layers.length - 1),
    signal: signals.includes(state.signal) ? state.signal : signals[0],
    class: model.shown.includes(state.class) ? state.class : best.find(name => model.shown.includes(name)),
    draw: Number(state.draw) >= 1 && Number(state.draw) <= model.count ? Number(state.draw) : "all",
    centred: state.centred && model.shown.length > 1,
    wipe: state.wipe?.every(name => model.conditions.includes(name)) ? state.wipe : null,
    read: payload.lens ? state.read : "last",
    shows: ["a", "b"].includes(state.shows) ? state.shows : "difference",
  };
}

// ---- Maps ---------------------------------------------------------------------------------------

const scratch = document.createElement("canvas");

/** The photograph in grey, its contrast held back so that colours on it keep their meaning. */
function greyed(photo) {
  const canvas = el("canvas", { width: photo.naturalWidth, height: photo.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(photo, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const light = 0.299 * pixels.data[i] + 0.587 * pixels.data[i + 1] + 0.114 * pixels.data[i + 2];
    pixels.data.fill(24 + 0.8 * light, i, i + 3);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Paints patches over the photograph: colours without smoothing, then 45 degree hatch, then outlines. */
function paint(canvas, { grid: [rows, columns], photo, veil, colours, hatched = [], outlined = [] }, from = 0) {
  const pen = canvas.getContext("2d"), { width, height } = canvas, across = width / columns, down = height / rows;
  pen.save();
  if (from) {
    pen.beginPath();
    pen.rect(from * width, 0, width, height);
    pen.clip();
  }
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = true;
  if (photo) pen.drawImage(photo, 0, 0, width, height);
  if (veil) {
    pen.fillStyle = veil;
    pen.fillRect(0, 0, width, height);
  }
  scratch.width = columns;
  scratch.height = rows;
  setPixels(scratch, colours);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(scratch, 0, 0, width, height);
  const box = i => [i % columns * across, Math.floor(i / columns) * down, across, down];
  if (hatched.length) {
    pen.save();
    pen.beginPath();
    for (const i of hatched) pen.rect(...box(i));
    pen.clip();
    const dense = window.devicePixelRatio || 1;
    pen.fillStyle = "rgba(203,213,225,.8)";
    pen.fillRect(0, 0, width, height);
    pen.strokeStyle = "rgba(71,85,105,.9)";
    pen.lineWidth = dense;
    pen.beginPath();
    for (let x = 0; x < width + height; x += 4 * dense) {
      pen.moveTo(x, 0);
      pen.lineTo(x - height, height);
    }
    pen.stroke();
    pen.restore();
  }
  for (const [colour, wide] of [["rgba(15,23,42,.85)", 3], ["#fff", 1.25]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = wide * (window.devicePixelRatio || 1);
    for (const i of outlined) {
      const [x, y, w, h] = box(i);
      pen.strokeRect(x + 1.5, y + 1.5, w - 3, h - 3);
    }
  }
  pen.restore();
}

/** A map on the page: it points at patches by mouse, touch and keys, together with all others. */
function mapView(page, caption) {
  const canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": caption });
  const spot = el("i", { class: "spot", hidden: true }), name = el("span", { class: "map-name" });
  const over = el("p", { class: "map-over", hidden: true });
  const node = el("div", { class: "map" }, canvas, spot, name, over);
  const view = { node, canvas, spec: null, value: null, side: 0 };
  let tapped = null, pressed = 0;
  const at = event => {
    const box = canvas.getBoundingClientRect(), { rows, columns } = page.model;
    const row = Math.floor((event.clientY - box.top) / box.height * rows);
    const column = Math.floor((event.clientX - box.left) / box.width * columns);
    return row < 0 || column < 0 || row >= rows || column >= columns ? null : row * columns + column;
  };
  const on = (kind, listener) => canvas.addEventListener(kind, event => page.model && listener(event));
  on("pointermove", event => event.pointerType !== "touch" && page.point(at(event), view));
  on("pointerleave", event => event.pointerType !== "touch" && page.point(null));
  on("pointerdown", event => {
    tapped = event.pointerType === "touch" ? page.pointed : -1;
    pressed = event.clientX;
  });
  on("click", event => {
    const token = at(event);
    if (Math.abs(event.clientX - pressed) > 4) return; // a drag
    // The first tap shows the card, as the mouse does by pointing; the second opens the drawer.
    if (tapped === -1 || tapped === token) page.drawer.open(token, canvas);
    else page.point(token, view);
  });
  on("blur", () => page.point(null));
  on("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    page.drawer.open(page.pointed ?? 0, canvas);
  });
  onArrows(canvas, (right, down) => {
    if (!page.model) return;
    const { rows, columns, patches } = page.model, token = page.pointed;
    if (token === null || token >= patches) return page.point(0, view, true);
    const row = clamp(Math.floor(token / columns) + down, 0, rows - 1), column = clamp(token % columns + right, 0, columns - 1);
    return page.point(row * columns + column, view, true);
  });
  view.repaint = () => {
    if (!view.side || !view.spec) return;
    if (canvas.width !== view.side) canvas.width = canvas.height = view.side;
    paint(canvas, view.spec);
    if (view.wiped) paint(canvas, view.wiped, view.from);
  };
  view.show = (spec, { label, title = "", value, over: text = "", wiped = null, from = 0 }) => {
    Object.assign(view, { spec, value, wiped, from });
    if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
    say(name, title);
    say(over, text);
    over.hidden = !text;
    view.repaint();
  };
  view.mark = token => {
    const { rows, columns, patches } = page.model;
    spot.hidden = token === null || token >= patches || !view.spec;
    if (spot.hidden) return;
    Object.assign(spot.style, { left: `${token % columns * 100 / columns}%`, top: `${Math.floor(token / columns) * 100 / rows}%`,
      width: `${100 / columns}%`, height: `${100 / rows}%` });
  };
  page.observe(canvas, ({ width }) => {
    view.side = Math.round(width * (window.devicePixelRatio || 1));
    view.repaint();
  });
  page.maps.push(view);
  return view;
}

/** The prompts of a layer as coloured cells beside their map. */
function promptCells(page, what) {
  const node = el("div", { class: "prompts" });
  const show = (branch, values, scale, write, cardRow) => {
    const { patches } = page.model, count = page.model.prompts(branch, page.state.layer);
    const cells = Array.from({ length: count }, (_, i) => {
      const token = patches + i, value = values?.[token], none = missing(value);
      return el("button", { type: "button", class: "cell", "aria-label": `${what}, prompt ${i + 1}: ${write(value)}`,
        style: none ? "" : `background:${cssColour(scale, value)};color:${inkOn(scale, value)}`,
        onpointerenter: event => page.point(token, { node: event.currentTarget, value: cardRow }),
        onpointerleave: () => page.point(null),
        onclick: event => page.drawer.open(token, event.currentTarget) }, `P${i + 1} ${write(value)}`);
    });
    node.replaceChildren(...(count ? cells : [el("span", { class: "soft" }, "No prompt tokens here.")]));
  };
  return { node, show };
}

// ---- Panels -------------------------------------------------------------------------------------

/** A titled section; `beside` stands in its header. */
function panel(page, id, title, { about = "", beside = "" }, ...content) {
  const save = kind => el("button", { type: "button", class: "save", "aria-label": `Save ${title} as ${kind}`,
    onclick: () => page.model && savePanel(page, node, id, kind) }, kind);
  const subtitle = el("span", { class: "soft" }, about);
  const node = el("section", { class: `panel ${id}`, "aria-label": page.options.leader ? `Pinned: ${title}` : title },
    el("header", {}, el("h2", {}, title), subtitle, beside, el("span", { class: "saves", "data-screen": true }, save("PNG"), save("SVG"))),
    ...content);
  return { node, subtitle };
}

/** What a mark of this look stands for. */
const legend = (look, text) => el("span", { class: "key" }, el("i", look), text);

/** How the model answers: a row a class, undropped branches as dots, draws of each dropout as ticks. */
function saysPanel(page) {
  const when = choice("Read after", value => page.set({ read: value }));
  const keys = el("p", { class: "keys soft" }), chart = el("div", { class: "chart" });
  const note = el("p", { class: "soft note two" });
  const { node } = panel(page, "says", "Says", { beside: when.node }, keys, chart, note);
  let key = "", width = 0, room = 0;
  const x = p => 5 + clamp(p, 0, 1) * (width - 10);
  page.observe(chart, box => {
    if (box.width === width && (page.narrow || box.height === room)) return;
    ({ width, height: room } = box);
    if (page.model) render();
  });
  onArrows(chart, (right, down) => page.step("class", right + down));

  function details(index, name) {
    const { model } = page, at = page.model.payload.classes.indexOf(name);
    const rows = model.payload.branches.flatMap(branch => [
      [model.label(branch), three(model.probability(branch, at))], [`${model.label(branch)}, cosine`, three(model.cosine(branch, at))]]);
    for (const side of [model.a, model.b]) {
      const found = model.interval(side, index);
      if (found) rows.push([`${model.short(side)}, mean of ${many(model.count, "draw")}`, three(found.mean)]);
      if (found && Number.isFinite(found.low)) rows.push(["95 % interval", `${three(found.low)} to ${three(found.high)}`]);
    }
    return { title: name, rows };
  }

  function row(name, index, top, height) {
    const { model, state } = page, { payload } = model, at = payload.classes.indexOf(name);
    const y = top + height - 8, above = y - Math.min(15, height - 17.5), layered = state.read === "layer";
    const p = branch => (layered ? part(payload.lens[branch], state.layer)[index] : model.probability(branch, at));
    const values = payload.branches.map(p), chosen = name === state.class;
    const unlearnt = payload.learnt && !payload.learnt[at] && payload.learnt.some(Boolean);
    const said = `${name}: ${payload.branches.map((branch, i) => `${model.label(branch)} ${two(values[i])}`).join(", ")}`;
    const marks = [];
    if (!layered) [model.a, model.b].forEach((side, i) => {
      const found = model.interval(side, index), line = y + (i ? 5.5 : -5.5), colour = page.variable(side);
      for (const value of model.drawn(side, index))
        marks.push(svg("line", { x1: x(value), x2: x(value), y1: line - 2, y2: line + 2, stroke: colour, "stroke-opacity": 0.4 }));
      if (found && Number.isFinite(found.low)) marks.push(svg("line", { x1: x(found.low), x2: x(found.high), y1: line, y2: line, stroke: colour, "stroke-width": 2.5 }),
        svg("rect", { x: x(found.mean) - 1.5, y: line - 2.5, width: 3, height: 5, fill: colour, rx: 1 }));
    });
    const wide = Math.floor((width - 100) / (chosen ? 7.4 : 6.8)), short = name.length > wide ? `${name.slice(0, wide - 1)}…` : name;
    return svg("g", { role: "radio", "aria-checked": String(chosen), "aria-label": said, tabindex: chosen ? 0 : -1, class: "class-row",
      onclick: () => page.set({ class: name }), onpointermove: event => page.card.show(details(index, name), event.clientX, event.clientY),
      onpointerleave: () => page.card.hide(), onfocus: event => {
        const box = event.currentTarget.getBoundingClientRect();
        if (event.currentTarget.matches(":focus-visible")) page.card.show(details(index, name), box.right, box.top);
      }, onblur: () => page.card.hide() },
    svg("rect", { x: 0, y: top, width, height: height - 1, rx: 4, fill: chosen ? "var(--pick)" : "transparent" }),
    svg("text", { x: 5, y: above, fill: "var(--ink)", "font-weight": chosen ? 600 : 400 }, short,
      unlearnt ? svg("tspan", { fill: "var(--soft)" }, " †") : null),
    svg("text", { x: width - 5, y: above, "text-anchor": "end", fill: "var(--soft)" }, values.map(two).join(" → ")),
    svg("line", { x1: x(0), x2: x(1), y1: y, y2: y, stroke: "var(--line)" }), ...marks,
    values.length > 1 ? svg("line", { x1: x(values[0]), x2: x(values[1]), y1: y, y2: y, stroke: "var(--soft)", "stroke-width": 2 }) : null,
    ...payload.branches.map((branch, i) =>
      svg("circle", { cx: x(values[i]), cy: y, r: 4.5, fill: page.variable(branch), stroke: "var(--panel)" })));
  }

  function render() {
    const { model, state } = page, { payload } = model;
    when.show([["last", "last layer"], ...(payload.lens ? [["layer", `layer ${state.layer + 1}`,
      "The logit lens: each layer read through the final norm and projection"]] : [])], state.read);
    const flips = payload.draws?.summary.flips, learnt = payload.learnt?.filter(Boolean).length;
    say(note, state.read === "layer"
      ? "Logit lens: read through the final norm and projection, trained for the last layer alone."
      : [flips ? `Answer changed in ${flips[model.a]} (${model.inBrackets(model.a)}), ${flips[model.b]} (${model.inBrackets(model.b)}) of ${many(model.count, "draw")}.` : "",
        learnt === 0 ? "Prompts learnt on other classes." : learnt < payload.classes.length ? "† never learnt by the prompts." : ""].join(" "));
    const wanted = [page.turn, state.class, state.read, state.read === "layer" && state.layer, width, room].join();
    if (wanted === key || !width) return;
    key = wanted;
    const mark = (shape, name) => legend({ class: shape, style: `background:${page.colour(name)}` }, model.short(name));
    keys.replaceChildren(...payload.branches.map(name => mark("dot", name)),
      ...(state.read === "last" && model.count ? [mark("dash", model.a), mark("dash", model.b)] : []));
    const height = page.narrow ? 42 : clamp(Math.floor((room - 20) / model.shown.length), 28, 56);
    const bottom = height * model.shown.length, focused = chart.contains(document.activeElement);
    chart.replaceChildren(svg("svg", { width, height: bottom + 18, role: "radiogroup", "aria-label": "Class looked at, with its probabilities" },
      ...[0, 0.5, 1].map(p => svg("line", { x1: x(p), x2: x(p), y1: 0, y2: bottom, stroke: "var(--line)", "stroke-dasharray": "1 3" })),
      ...model.shown.map((name, i) => row(name, i, i * height, height)),
      ...[0, 0.5, 1].map(p => svg("text", { x: x(p), y: bottom + 13, fill: "var(--soft)",
        "text-anchor": { 0: "start", 1: "end" }[p] ?? "middle" }, p === 0.5 ? "probability" : p))));
    if (focused) chart.querySelector("[tabindex='0']").focus();
  }
  return { node, render };
}

/** How much every token matters at this layer. */
function mattersPanel(page) {
  const map = mapView(page, "Token importance"), bar = colourBar(), prompts = promptCells(page, "Importance");
  const list = el("ol", { class: "top" }), { node, subtitle } = panel(page, "matters", "Matters", { about: "importance" },
    map.node, bar.node, prompts.node, el("p", { class: "soft" }, "Outlined: top ten, by attention"), list);
  function render() {
    const { model, state, photo } = page, { branch, signal, layer } = state;
    const values = model.times(branch, signal, layer), scale = model.timesScale(branch, signal), top = model.ranked(branch, signal, layer).slice(0, 10);
    const name = model.payload.signal_labels[signal], share = token => ["Times an even share", three(values[token])];
    say(subtitle, `layer ${layer + 1}`);
    map.show({ grid: [model.rows, model.columns], photo, colours: tint(values, scale, state.opacity, model.patches),
      outlined: top.filter(token => token < model.patches) }, {
      label: `${name} after layer ${layer + 1}, ${model.label(branch)}, in multiples of an even share. Most important: ${model.told(values, times)}.`,
      value: share });
    bar.scale(scale, ["0", "tick: an even share", `${scale.clipped ? "≥ " : ""}${times(scale.high)}`], 1 / scale.high);
    prompts.show(branch, values, scale, value => (missing(value) ? "–" : times(value)), share);
    list.replaceChildren(...top.map(token => el("li", { onpointerenter: () => page.mark(token), onpointerleave: () => page.mark(null),
      onclick: event => page.drawer.open(token, event.currentTarget) }, el("span", {}, model.shortName(token)), el("b", {}, times(values[token])))));
  }
  return { node, render };
}

/** What dropout would throw away: how the compared two differ in p, or how often one drops, and in what they decide otherwise. */
function droppedPanel(page) {
  const first = mapView(page, "Difference of p"), decided = mapView(page, "Decisions that differ");
  const bar = colourBar(), countBar = colourBar(), prompts = promptCells(page, "Dropped");
  const what = choice("What the left map shows", value => page.set({ shows: value }));
  const ranked = el("input", { type: "checkbox", onchange: () => page.set({ ranked: ranked.checked }) });
  const turn = el("label", { class: "switch", title: "Changes this panel and the film strip alone" }, ranked, "What if ranked (ours)");
  const there = "Of the draws in which a token was still there: point at it for how many";
  const captions = [el("figcaption", { title: there }), el("figcaption", { title: there })], keys = el("p", { class: "keys soft" });
  const sentence = el("p", { class: "sentence" }), reason = el("p", { class: "soft" });
  const { node, subtitle } = panel(page, "dropped", "Dropped", {}, el("div", { class: "row" }, what.node, turn),
    el("div", { class: "pair" }, el("figure", {}, captions[0], first.node, bar.node, prompts.node),
      el("figure", { class: "differ" }, captions[1], decided.node, countBar.node, keys)), el("div", { class: "words" }, sentence, reason));

  /** Patches in the colour of the one that alone keeps them, where `sideOf` says "a" or "b". */
  function kept(sideOf, strength) {
    const { model, state } = page, colours = new Uint8ClampedArray(4 * model.patches);
    const [forA, forB] = [model.a, model.b].map(name => rgbOf(page.colour(name)));
    for (let i = 0; i < model.patches; i++) {
      const colour = { a: forA, b: forB }[sideOf(i)];
      if (colour) colours.set([...colour, 255 * strength(i) * Math.max(0.5, state.opacity)], 4 * i);
    }
    return colours;
  }
  const named = name => (page.state.ranked && name === page.model.a ? "ranked" : page.model.inBrackets(name));
  const keepers = () => [page.model.b, page.model.a].map(name =>
    legend({ class: "box", style: `background:${page.colour(name)}` }, `only ${named(name)} keeps`));
  /** The patches that are so, of tokens that each are something. */
  const patchesThat = (are, tokens) => tokens.flatMap((one, i) => (one === are && i < page.model.patches ? [i] : []));
  const darken = (colours, patches) => patches.forEach(i => colours.set([15, 23, 42, 150], 4 * i));

  /** The left map: the difference of p. */
  function showDifference(spec, layer, one) {
    const { model, state } = page, { draw, ranked: asked } = state;
    const values = model.difference(layer, draw, asked), scale = model.differenceScale(asked);
    const title = `p(${named(model.a)}) − p(${named(model.b)})`;
    const where = asked || !model.count ? "undropped" : one ? `draw ${draw}` : `mean of ${model.count}`;
    const colours = tint(values, scale, state.opacity, model.patches);
    if (one) darken(colours, patchesThat(true, Array.from(values, Number.isNaN)));
    // "p(inverse) − p(vanilla)" leaves no room for more.
    say(captions[0], title.length > 21 ? title : `${title}, ${where}`);
    first.show({ ...spec, veil: "", colours }, { label: `${title} after layer ${layer + 1}, ${where}. Largest: ${model.told(values, signed)}.`,
      value: token => (one ? [title, signed(values[token])] : null) });
    const high = Number(scale.high.toPrecision(2)), [least, most] = scale.clipped ? ["≤ ", "≥ "] : ["", ""];
    bar.scale(scale, [`${least}−${three(high)} spared`, "0", `${most}+${three(high)} exposed`]);
    prompts.show(model.payload.pair_branch, values, scale, value => (missing(value) ? "–"
      : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(Math.abs(value) < 0.0995 ? 3 : 2)}`));
  }

  /** The left map: how often one of the two drops each token. */
  function showOften(name, spec, layer, one) {
    const { model, state } = page, expected = state.ranked || !model.count, who = named(name);
    const values = model.often(name, layer, state.ranked), scale = model.oftenScale(state.ranked);
    const write = value => (missing(value) ? "–" : expected ? two(value) : String(value));
    if (one) {
      const drops = model.dropsOf(name, layer, state.draw), colours = new Uint8ClampedArray(4 * model.patches);
      darken(colours, patchesThat("gone", drops));
      say(captions[0], `What ${who} drops: hatched`);
      const count = drops.filter(what => what === "drop").length;
      first.show({ ...spec, veil: "", colours, hatched: patchesThat("drop", drops) }, {
        label: `What ${who} drops after layer ${layer + 1} in draw ${state.draw}: ${many(count, "token")}.`,
        value: token => [`${who}, draw ${state.draw}`, { drop: "drops it", gone: "dropped it earlier" }[drops[token]] ?? "keeps it"] });
      prompts.show(model.payload.pair_branch, drops.map(what => ({ drop: 1, gone: NaN }[what] ?? 0)), upTo(1), value => (missing(value) ? "gone" : value ? "drop" : "keep"));
      return;
    }
    const title = expected ? `p(${who}), undropped` : `Draws ${who} drops it in, of ${model.count}`;
    say(captions[0], title);
    first.show({ ...spec, veil: "", colours: tint(values, scale, state.opacity, model.patches) }, {
      label: `${title}, after layer ${layer + 1}. Most: ${model.told(values, write)}.`, value: () => null });
    bar.scale(scale, ["0", "", expected ? two(scale.high) : many(scale.high, "draw")]);
    prompts.show(model.payload.pair_branch, values, scale, write);
  }

  function oneDraw(spec, layer, draw) {
    const { model } = page, decisions = model.decisions(layer, draw), count = what => decisions.filter(one => one === what).length;
    const [a, b] = [model.a, model.b].map(name => model.inText(name).replace(/ alone$/, "")), asked = decisions.length - count("gone");
    const colours = kept(i => decisions[i], () => 1);
    darken(colours, patchesThat("gone", decisions));
    decided.show({ ...spec, colours, hatched: patchesThat("both", decisions) }, {
      label: `Decisions of draw ${draw} after layer ${layer + 1}: ${a} alone keeps ${many(count("a"), "token")}, ${b} alone ${count("b")}, both drop ${count("both")}.`,
      value: token => ["In this draw", { a: `only ${b} drops it`, b: `only ${a} drops it`, both: "both drop it",
        gone: "dropped earlier" }[decisions[token]] ?? "both keep it"] });
    say(captions[1], `Decisions, draw ${draw}`);
    keys.replaceChildren(...keepers(), legend({ class: "box hatch" }, "both drop"),
      ...(count("gone") ? [legend({ class: "box gone", title: "dropped earlier: nothing is left to decide" }, "gone")] : []));
    const both = count("both"), chance = (both + count("a")) * (both + count("b")) / Math.max(1, asked);
    const differ = count("a") + count("b");
    say(sentence, `One draw, after layer ${layer + 1}: of ${many(asked, "decision")} ${differ} differ${differ === 1 ? "s" : ""}: `
      + `${a} alone drops ${count("b")}, ${b} alone ${count("a")}, both ${both} (${chance.toFixed(0)} if independent).`);
  }

  /** One draw of many can still be seen. */
  const strength = share => (share ? Math.min(1, 0.2 + 0.8 * Math.abs(share)) : 0);

  function allDraws(spec, layer, expected) {
    const { model, state } = page, counts = model.differing(layer, state.ranked), top = model.differingTop(state.ranked);
    const [a, b] = [model.a, model.b].map(model.inText), write = value => (expected ? percent(value) : `${value} of ${model.count}`);
    decided.show({ ...spec, colours: kept(i => (counts[i] > 0 ? "a" : counts[i] < 0 ? "b" : ""), i => strength(counts[i] / top)) }, {
      label: `Share of draws in which exactly one of ${a} and ${b} drops a token, after layer ${layer + 1}. Most: ${model.told(sizes(counts), write)}.`,
      value: () => null });
    const prompted = expected ? 0 : total(sizes(counts).subarray(model.patches));
    say(captions[1], expected ? "Draws expected to differ" : `Differ, of ${many(model.count, "draw")}${prompted ? `; prompts: ${prompted}` : ""}`);
    const colours = new Uint8ClampedArray(1024), panelColour = rgbOf(page.colour("panel"));
    for (let i = 0; i < 256; i++) {
      const at = i / 127.5 - 1, ends = rgbOf(page.colour(at < 0 ? model.b : model.a)), full = strength(expected || Math.abs(at) * top >= 0.5 ? at : 0);
      colours.set([...ends.map((end, c) => end * full + panelColour[c] * (1 - full)), 255], 4 * i);
    }
    const end = expected ? percent(top) : String(top);
    countBar.show(colours, [end, "0", end]);
    keys.replaceChildren(...keepers());
  }

  function render() {
    const { model, state, photo } = page, { payload } = model, { layer, draw } = state;
    const grid = [model.rows, model.columns], off = layer >= model.depth, elsewhere = model.elsewhere(state.branch);
    what.show([["difference", "difference", "p of the first less p of the second"], ...[["a", model.a], ["b", model.b]].map(([side, name]) =>
      [side, `${named(name)} drops`, `How often ${model.inText(name)} drops each token`])], state.shows);
    ranked.checked = state.ranked;
    const counts = state.ranked || off ? null : payload.draws?.summary.layers[layer];
    const share = (name, dropped) => `${named(name)} ${percent(dropped / counts.decisions)}`;
    say(subtitle, (counts?.decisions ? `${share(model.a, counts.dropped_a)}, ${share(model.b, counts.dropped_b)} of ${Math.round(counts.decisions / model.count)} tokens left`
      : `${named(model.a)} and ${named(model.b)}`) + (elsewhere ? `, ${elsewhere} branch` : ""));
    node.classList.toggle("off", off);
    const spec = { grid, photo, veil: `${page.colour("panel")}99`, colours: new Uint8ClampedArray(4 * model.patches) };
    const one = draw !== "all" && !state.ranked && !off;
    node.classList.toggle("one", one);
    countBar.node.classList.toggle("away", one || off);
    keys.classList.toggle("away", off);
    bar.node.classList.toggle("blank", one && state.shows !== "difference");
    if (off) {
      const says = payload.sentences.after_depth;
      for (const map of [first, decided]) map.show(spec, { label: says, over: "No dropout here" });
      say(captions[0], `p(${named(model.a)}) − p(${named(model.b)})`);
      say(captions[1], "Decisions that differ");
      bar.scale(model.differenceScale(state.ranked), ["", "", ""]);
      prompts.show(payload.pair_branch, null, null, () => "–");
      say(sentence, says);
      say(reason, "");
      return;
    }
    if (state.shows === "difference") showDifference(spec, layer, one);
    else showOften(state.shows === "a" ? model.a : model.b, spec, layer, one);
    if (one) oneDraw(spec, layer, draw);
    else {
      allDraws(spec, layer, state.ranked || !payload.draws);
      say(sentence, (state.ranked ? payload.sentences.ranked : payload.sentences.dropped)[layer]);
    }
    const why = payload.sentences.reason[layer];
    const of = [one && `draws 1 to ${model.count}`, elsewhere && `the ${elsewhere} branch`].filter(Boolean).join(", ");
    say(reason, state.ranked ? "Expected on the undropped forward. Only this panel and the film strip change."
      : why && of ? `Of ${of}: ${why[0].toLowerCase()}${why.slice(1)}` : why);
  }
  return { node, render };
}

/** Where the model looks for the class: Grad-CAM under all conditions, on one scale. */
function looksPanel(page) {
  const views = Array.from({ length: 4 }, () => mapView(page, "Grad-CAM")), wiped = mapView(page, "Grad-CAM, wiped");
  const mode = choice("How to compare", value => page.set({ wipe: value === "wipe" ? [page.model.a, page.model.b] : null }));
  const centred = el("input", { type: "checkbox", onchange: () => page.set({ centred: centred.checked }) });
  const sides = [0, 1].map(i => dropdown(["Left of the line", "Right of the line"][i], name =>
    page.set({ wipe: page.state.wipe.map((one, j) => (j === i ? name : one)) })));
  const line = el("i", { class: "line" }), bar = colourBar(), note = el("p", { class: "soft note" });
  const chip = el("span", { class: "chip" }), nothing = el("p", { class: "nothing soft", hidden: true }, "No adapted branch: no prompts are loaded.");
  let from = 0.5, key = "";
  const slide = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Line between the two maps",
    oninput: () => { from = slide.value / 100; render(); } });
  const drag = event => {
    if (!event.buttons) return;
    const box = wiped.canvas.getBoundingClientRect();
    from = clamp((event.clientX - box.left) / box.width, 0, 1);
    slide.value = 100 * from;
    render();
  };
  wiped.canvas.addEventListener("pointermove", drag);
  wiped.node.append(line);
  const four = el("div", { class: "four" }, ...views.map(view => view.node), nothing);
  const wipeBox = el("div", { class: "wipe", hidden: true }, wiped.node, el("div", { class: "row" }, sides[0].node, slide, sides[1].node));
  const { node, subtitle } = panel(page, "looks", "Looks at", { about: "Grad-CAM" },
    el("div", { class: "row" }, mode.node, el("label", { class: "switch" }, centred, "less the mean")), four, wipeBox, bar.node, note, chip);

  function render() {
    const { model, state, photo } = page, { payload } = model, index = model.shown.indexOf(state.class);
    const wanted = [page.turn, index, state.draw, state.centred, state.wipe, state.opacity, from].join();
    if (wanted === key) return;
    key = wanted;
    const scale = model.mapScale(index, state.draw, state.centred), block = payload.maps.layer + 1, method = payload.maps.method;
    say(subtitle, method);
    mode.show([["all", "all"], ["wipe", "wipe"]], state.wipe ? "wipe" : "all");
    centred.checked = Boolean(state.centred);
    centred.parentElement.hidden = model.shown.length < 2;
    four.hidden = Boolean(state.wipe);
    wipeBox.hidden = !state.wipe;
    const spec = name => {
      const values = model.shownMap(name, index, state.draw, state.centred) ?? model.nothing;
      const none = [...values.keys()].filter(i => Number.isNaN(values[i]));
      const colours = tint(values, scale, state.opacity, model.patches);
      return { values, spec: { grid: [model.rows, model.columns], photo, colours, hatched: none.length < values.length ? none : [] } };
    };
    const label = (name, values) => `${method} for ${state.class} at block ${block}, ${model.label(name)}. `
      + (values === model.nothing ? "No map." : `Largest: ${model.told(values, signed)}.`);
    if (state.wipe) {
      const [left, right] = state.wipe.map(spec);
      sides.forEach((side, i) => side.show(model.conditions.map(name => [name, model.short(name).replace(/ IWTD$/, "")]), state.wipe[i]));
      wiped.show(left.spec, { wiped: right.spec, from, title: state.wipe.map(model.short).join(" | "),
        label: state.wipe.map((name, i) => label(name, [left, right][i].values)).join(" "),
        value: token => [`${method} at block ${block}, left and right`, `${three(left.values[token])}, ${three(right.values[token])}`] });
      line.style.left = `${100 * from}%`;
    } else {
      const order = [...payload.branches, ...[model.b, model.a]];
      nothing.hidden = order.length > 3;
      views.forEach((view, i) => {
        const name = order[i];
        view.node.hidden = !name;
        if (!name) return;
        const { values, spec: one } = spec(name), empty = values.every(Number.isNaN);
        view.node.style.setProperty("--tone", page.colour(name));
        view.show(one, { label: label(name, values), title: model.short(name),
          over: !empty ? "" : state.draw === "all" ? "No map yet" : `No map of draw ${state.draw}: the first ${model.mapped} have one`,
          value: token => [`${method} at block ${block}, ${model.label(name)}`, three(values[token])] });
      });
    }
    const [against, towards] = payload.maps.signed ? [" against", "for "] : ["", ""];
    bar.scale(scale, scale.low < 0 ? [signed(scale.low) + against, "0", towards + signed(scale.high)] : ["0", "", three(scale.high)]);
    const summary = payload.draws?.summary, first = payload.maps.values[model.a] ? "the first draw" : "no draw yet";
    const drawn = state.draw !== "all" ? `draw ${state.draw}` : summary?.mean_maps ? summary.map_draws < model.count
      ? `mean of ${summary.map_draws} of the ${model.count} draws` : `mean of ${many(summary.map_draws, "draw")}` : first;
    const hatched = [model.a, model.b].some(name => model.shownMap(name, index, state.draw, state.centred)?.some(Number.isNaN));
    say(note, `For ${state.class}, at block ${block}: the layer control does not move it. One scale. With dropout: ${drawn}.${
      hatched ? ` Hatched: dropped there${state.draw === "all" && summary?.mean_maps ? " in each of them" : ""}.` : ""}${
      state.centred ? " Less the mean of the classes." : ""} ${payload.maps.caveat ?? ""}`);
    say(chip, payload.chips.applied);
  }
  return { node, render };
}

// ---- Controls, film strip, card, drawer, guide ----------------------------------------------------

function controls(page) {
  const field = (name, ...inside) => el("label", { class: `field ${name}` }, el("span", {}, name), ...inside);
  const layer = el("input", { type: "range", min: 1, "aria-label": "Layer", oninput: () => page.set({ layer: layer.value - 1 }) });
  const shown = el("output", {}), klass = dropdown("Class", name =>
    (page.model.shown.includes(name) ? page.set({ class: name }) : page.options.onAsk?.({ class: name })));
  const signal = dropdown("Signal", name => page.set({ signal: name }));
  const branch = choice("Branch", name => page.set({ branch: name }));
  const draw = dropdown("Draw", name => page.set({ draw: name === "all" ? "all" : Number(name) }));
  const overlay = el("input", { type: "range", min: 0, max: 100, "aria-label": "Overlay",
    oninput: () => page.set({ opacity: overlay.value / 100 }) });
  const more = el("button", { type: "button", class: "more", "aria-expanded": "false", onclick: () => {
    more.setAttribute("aria-expanded", node.classList.toggle("open"));
  } }, "More");
  const step = (way, text, name) =>
    el("button", { type: "button", class: "step", "aria-label": name, onclick: () => page.step("layer", way) }, text);
  const node = el("div", { class: "controls", role: "group", "aria-label": "Controls" },
    el("div", { class: "field layer", title: "[ and ] anywhere, arrow keys outside the maps" }, el("span", {}, "layer"),
      step(-1, "‹", "Layer before"), layer, step(1, "›", "Next layer"), shown),
    field("class", klass.node), field("signal", signal.node), el("div", { class: "field branch" }, el("span", {}, "branch"), branch.node),
    field("draw", draw.node), field("overlay", overlay), more,
    el("button", { type: "button", class: "help", "aria-label": "Guide", title: "A guide in five steps", onclick: () => page.guide.open() }, "?"));
  function render() {
    const { model, state } = page, { payload } = model;
    layer.max = model.layers.length;
    layer.value = state.layer + 1;
    layer.setAttribute("aria-valuetext", `after layer ${state.layer + 1} of ${model.layers.length}`);
    say(shown, `${state.layer + 1} of ${model.layers.length}`);
    const rest = page.options.onAsk ? payload.classes.filter(name => !model.shown.includes(name)) : [];
    klass.show([...model.shown.map(name => [name, name]), ...rest.map(name => [name, `${name} (asks for its maps)`])], state.class);
    const signals = payload.signals.filter(name => payload.importance[state.branch][name]);
    // The list is narrow: "Class (s_cls)" for "Class attention (s_cls)".
    signal.show(signals.map(name => [name, payload.signal_labels[name].replace(/[ -]attention| signals/, "")]), state.signal);
    branch.show(payload.branches.map(name => [name, model.label(name)]), state.branch);
    const single = Array.from({ length: model.count }, (_, i) => [i + 1, `draw ${i + 1}`]);
    draw.show([["all", model.count > 1 ? `all ${model.count}, mean` : model.count ? "the one so far" : "no draw yet"], ...single], state.draw);
    overlay.value = 100 * state.opacity;
  }
  return { node, render };
}

/** All layers at a glance: importance, and the difference of p where dropout acts. */
function filmStrip(page) {
  const cells = el("div", { class: "cells", role: "radiogroup", "aria-label": "Layers" });
  const words = ["left: matters", "right: p differs", "◎ one token has", "≥ 8× an even share"].map(text => el("span", {}, text));
  const node = el("div", { class: "strip" }, el("p", { class: "soft strip-name" }, ...words), cells);
  let key = "", buttons = [];
  onArrows(cells, (right, down) => {
    page.step(right ? "layer" : "class", right || down);
    cells.querySelector("[tabindex='0']")?.focus();
  });
  let swipe = null;
  cells.addEventListener("pointerdown", event => { if (event.pointerType === "touch") swipe = [event.clientX, page.state.layer]; });
  cells.addEventListener("pointermove", event => {
    if (!swipe || !page.model || Math.abs(event.clientX - swipe[0]) < 12) return;
    page.set({ layer: swipe[1] - Math.round((event.clientX - swipe[0]) / 40) });
  });
  for (const kind of ["pointerup", "pointercancel"]) cells.addEventListener(kind, () => { swipe = null; });

  function thumb(values, scale) {
    const { rows, columns, patches } = page.model, canvas = el("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    setPixels(canvas, tint(values, scale, 1, patches));
    return canvas;
  }
  function cell(layer) {
    const { model, state } = page, { branch, signal } = state, lead = model.payload.lead[branch][signal][layer];
    const leading = lead[1] >= 8 ? `${model.tokenName(lead[0])} takes ${times(lead[1])} an even share` : "";
    const acts = layer < model.depth;
    return el("button", { type: "button", role: "radio", class: `cell-layer${acts ? "" : " off"}`, onclick: () => page.set({ layer }),
      title: leading, "aria-label": `Layer ${layer + 1}${leading ? `, ${leading}` : ""}${acts ? "" : ", no dropout"}` },
    el("span", { class: "cell-name" }, String(layer + 1), leading ? ` ◎${acts ? ` ${times(lead[1])}` : ""}` : null),
    thumb(model.times(branch, signal, layer), model.timesScale(branch, signal)),
    acts ? thumb(model.difference(layer, state.draw, state.ranked), model.differenceScale(state.ranked)) : null);
  }
  function render() {
    const { model, state } = page, wanted = [page.turn, state.branch, state.signal, state.draw, state.ranked].join();
    if (wanted !== key) {
      const focused = cells.contains(document.activeElement);
      key = wanted;
      buttons = model.layers.map(cell);
      cells.replaceChildren(...buttons);
      if (model.depth < model.layers.length) buttons[model.depth].before(el("span", { class: "soft from" }, "no dropout from here"));
      if (focused) buttons[state.layer].focus();
    }
    node.style.setProperty("--pictures", model.layers.length + model.depth);
    buttons.forEach((one, layer) => {
      one.setAttribute("aria-checked", layer === state.layer);
      one.tabIndex = layer === state.layer ? 0 : -1;
    });
    if (page.narrow) cells.scrollLeft = buttons[state.layer].offsetLeft - cells.clientWidth / 2 + 44;
  }
  return { node, render };
}

/** All that is known of one token at one layer: rows of name and value; a name alone heads what follows. */
function tokenDetails(page, token, layer, value) {
  const { model, state } = page, { payload } = model, { branch, draw, ranked } = state, { a, b } = model, rows = value ? [value] : [];
  const order = model.ranked(branch, "blend", layer), acted = model.inText(payload.pair_branch);
  rows.push([`Undropped forward, ${model.inText(branch)}`]);
  for (const name of Object.keys(payload.importance[branch]))
    rows.push([name === "blend" ? "Blend (I)" : name, three(part(payload.importance[branch][name], layer)[token])]);
  rows.push(["Rank", `${order.indexOf(token) + 1} of ${order.length}`]);
  if (layer < model.depth) {
    const difference = model.difference(layer, draw, ranked)[token], undropped = !payload.draws || ranked, counted = !undropped && draw === "all";
    const p = name => (undropped ? model.expected(name, layer, ranked)[token]
      : counted ? model.meanP(b, layer)[token] + (name === a ? difference : 0) : model.p(name, layer, draw)[token]);
    rows.push([undropped ? `Undropped forward, ${acted}${ranked ? ", ranked" : ""}`
      : counted ? `Over ${many(model.count, "draw")}, ${acted}` : `Draw ${draw}, ${acted}`]);
    const gone = name => (missing(model.expected(name, layer, false)[token]) ? "–" : "dropped earlier");
    for (const name of [a, b]) rows.push([`p(${ranked && name === a ? "ranked" : model.inBrackets(name)})`, missing(p(name)) ? gone(name) : p(name).toFixed(3)]);
    if (!missing(difference)) rows.push(["Difference of p", signed(difference)]);
    if (counted) {
      const { there, dropped, met, differ } = model.tally(layer);
      for (const name of [a, b]) rows.push([`${model.short(name)} drops it`, `${dropped[name][token]} of ${there[name][token]} still there`]);
      rows.push(["Exactly one drops it", `${differ[token]} of ${met[token]}`]);
    }
  }
  return { title: `${model.tokenName(token)}, layer ${layer + 1}`, rows };
}

function hoverCard(page) {
  const node = el("div", { class: "card", role: "tooltip", hidden: true });
  const show = ({ title, rows }, x, y) => {
    node.replaceChildren(el("b", {}, title), el("dl", {}, ...rows.flatMap(([name, value]) =>
      (value === undefined ? [el("dt", { class: "heads" }, name)] : [el("dt", {}, name), el("dd", {}, value)]))));
    node.hidden = false;
    const { width, height } = node.getBoundingClientRect();
    const left = x + 18 + width > window.innerWidth ? Math.max(4, x - width - 18) : x + 18;
    Object.assign(node.style, { left: `${left}px`, top: `${Math.max(4, Math.min(window.innerHeight - height - 4, y - 12))}px` });
  };
  return { node, show, hide: () => { node.hidden = true; } };
}

/** A small line chart over layers; lines of [name, colour, values]. */
function lineChart(title, lines, layers, chosen) {
  const width = 340, height = 118, top = Math.max(1e-9, ...lines.map(([, , values]) => largest(values)));
  const x = layer => 40 + layer * (width - 48) / Math.max(1, layers - 1), y = value => 100 - 88 * value / top;
  const path = values => Array.from(values, (value, i) =>
    (missing(value) ? "" : `${i && !missing(values[i - 1]) ? "L" : "M"}${x(i)} ${y(value)}`)).join("");
  const at = (px, py, text, anchor = "end") => svg("text", { x: px, y: py, fill: "var(--soft)", "text-anchor": anchor }, text);
  return el("figure", {}, el("figcaption", {}, title), svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title },
    svg("line", { x1: x(chosen), x2: x(chosen), y1: 8, y2: 100, stroke: "var(--line)", "stroke-width": 6 }),
    svg("line", { x1: 40, x2: width - 8, y1: 100, y2: 100, stroke: "var(--line)" }), at(36, 16, three(top)), at(36, 103, "0"),
    at(40, 115, "layer 1", "start"), at(width - 8, 115, String(layers)),
    ...lines.map(([, colour, values, dash]) =>
      svg("path", { d: path(values), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash ?? "none" }))),
  el("p", { class: "keys soft" }, ...lines.map(([name, colour]) => legend({ class: "dash", style: `background:${colour}` }, name))));
}

/** One token over all layers. */
function tokenDrawer(page) {
  const close = el("button", { type: "button", class: "close", onclick: () => shut() }, "Close");
  const title = el("h2", {}), body = el("div", {});
  const node = el("div", { class: "drawer", role: "dialog", "aria-label": "One token over all layers", tabindex: -1, hidden: true },
    el("header", {}, title, close), body);
  let back = null, token = null;
  function open(which, from) {
    if (which === null || which === undefined) return;
    token = which;
    back = from;
    page.point(null);
    node.hidden = false;
    render();
    close.focus();
  }
  function shut() {
    node.hidden = true;
    page.mark(null);
    back?.focus();
  }
  function render() {
    if (node.hidden) return;
    const { model, state } = page, { payload } = model, { branch } = state, name = model.tokenName(token);
    const sides = model.depth ? [model.a, model.b] : [], signals = payload.signals.filter(signal => payload.importance[branch][signal]);
    const share = (signal, layer) => part(payload.importance[branch][signal], layer)[token];
    const p = (side, layer) => (layer < model.depth ? model.p(side, layer, "all")[token] : NaN);
    const rate = (side, layer) => (layer < model.depth ? model.rate(side, layer)[token] : NaN);
    const chart = (what, names, value) => lineChart(what, names.map((one, i) => [payload.signal_labels[one] ?? model.label(one),
      page.variable(one), Float32Array.from(model.layers, layer => value(one, layer)), names === sides && i ? "5 3" : undefined]),
    model.layers.length, state.layer);
    page.mark(token);
    say(title, `${name[0].toUpperCase()}${name.slice(1)} over all layers`);
    const charts = [chart(`Importance in multiples of an even share, ${model.label(branch)}`, signals,
      (signal, layer) => model.times(branch, signal, layer)[token])];
    if (model.depth) charts.push(chart(`How likely to be dropped (p), undropped forward, ${model.label(payload.pair_branch)}`, sides, p));
    if (model.depth && payload.draws) charts.push(chart("Dropped, as a share of the draws in which it was still there", sides, rate));
    const drops = (side, layer) => (layer < model.depth
      ? `${model.tally(layer).dropped[side][token]} of ${model.tally(layer).there[side][token]}` : "–"), counted = payload.draws ? sides : [];
    const head = ["layer", ...signals, ...sides.map(side => `p ${model.short(side)}`), ...counted.map(side => `${model.short(side)} drops it`)];
    const rows = model.layers.map(layer => el("tr", { class: layer === state.layer ? "on" : "" },
      el("th", { scope: "row" }, String(layer + 1)), ...signals.map(signal => el("td", {}, three(share(signal, layer)))),
      ...sides.map(side => el("td", {}, three(p(side, layer)))), ...counted.map(side => el("td", {}, drops(side, layer)))));
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...head.map(text => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ...rows));
    const note = counted.length ? [el("p", { class: "soft" }, "Dropped: of the draws in which it was still there.")] : [];
    body.replaceChildren(...charts, ...note, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Numbers of this token" }, table));
  }
  return { node, open, shut, render };
}

const STEPS = [
  ["says", "Says", "How likely the model finds each class. Dots are the frozen and the adapted branch; ticks are draws of the two dropouts."],
  ["matters", "Matters", "How important each token is at this layer. The ten most important are outlined; point at any patch for its numbers."],
  ["dropped", "Dropped", "Blue patches are spared by the first dropout, orange ones exposed, measured against the second at the same rate. The switch shows how often each of the two drops a token."],
  ["differ", "Where they differ", "What counts are decisions: coloured patches are dropped by one of the two and not by the other, the stronger the colour, the more draws."],
  ["looks", "Looks at", "Where the model looks for the class, undropped and with each dropout, on one scale. Wipe between any two."],
];

function guidedTour(page) {
  const count = el("span", { class: "soft" }), title = el("h2", {}), text = el("p", {});
  const go = (label, act) => el("button", { type: "button", class: "plain", onclick: act }, label);
  const before = go("Back", () => move(at - 1)), next = go("Next", () => move(at + 1)), skip = go("Skip", () => shut());
  const node = el("div", { class: "guide", role: "dialog", "aria-label": "Guide", hidden: true, tabindex: -1 },
    el("div", {}, count, title, text), el("div", { class: "row" }, before, skip, next));
  let at = 0, back = null, left = null;
  const unpoint = () => page.root.querySelector(".pointed")?.classList.remove("pointed");
  function move(to) {
    if (to >= STEPS.length) return shut();
    at = Math.max(0, to);
    const [where, name, words] = STEPS[at], target = page.root.querySelector(`.${where}`), { model } = page;
    if (where === "differ" && model?.depth) {
      const differing = Float32Array.from({ length: model.depth }, (_, layer) => total(sizes(model.differing(layer, page.state.ranked))));
      left ??= { layer: page.state.layer, draw: page.state.draw };
      page.set({ layer: ranking(differing)[0] ?? 0, draw: "all" });
    }
    unpoint();
    target.classList.add("pointed");
    target.scrollIntoView({ block: window.innerWidth <= 1020 ? "start" : "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    say(count, `${at + 1} of ${STEPS.length}`);
    say(title, name);
    say(text, words);
    before.disabled = !at;
    say(next, at === STEPS.length - 1 ? "Done" : "Next");
    return next.focus({ preventScroll: true });
  }
  function open() {
    back = document.activeElement;
    page.root.classList.add("guided");
    node.hidden = false;
    move(0);
  }
  function shut() {
    node.hidden = true;
    page.root.classList.remove("guided");
    unpoint();
    if (left) page.set(left);
    left = null;
    try { localStorage.setItem("drople-lens-guide", "seen"); } catch { /* a private window keeps nothing */ }
    page.hint.hidden = true;
    if (page.narrow) window.scrollTo({ top: 0 });
    back?.focus({ preventScroll: true });
  }
  const seen = () => { try { return Boolean(localStorage.getItem("drople-lens-guide")); } catch { return true; } };
  return { node, open, shut, seen };
}

// ---- Pictures to keep -----------------------------------------------------------------------------

/** The lines of a text node as they stand on the page: [text, rectangle]. */
function linesOf(node) {
  const lines = [], range = document.createRange();
  for (const { index, 0: word } of node.data.matchAll(/\S+\s*/g)) {
    range.setStart(node, index);
    range.setEnd(node, index + word.trimEnd().length);
    const box = range.getBoundingClientRect(), last = lines.at(-1);
    if (!box.width) continue;
    if (last && Math.abs(last.box.top - box.top) < 4) last.text += word;
    else lines.push({ text: word, box });
  }
  return lines;
}

/** What a panel shows, as an SVG document: its maps as pictures, the rest as shapes and text. */
function panelSvg(page, panelNode) {
  const frame = panelNode.getBoundingClientRect(), parts = [], style = getComputedStyle(page.root);
  // The row of choices under the title is left out, and what is below it moves up.
  const row = panelNode.querySelector(":scope > .row")?.getBoundingClientRect(), away = row ? row.height + 4 : 0;
  const place = box => ({ x: box.left - frame.left, y: box.top - frame.top - (row && box.top > row.top ? away : 0), width: box.width, height: box.height });
  const write = (text, x, y, { fontSize, fontWeight, color }) =>
    parts.push(svg("text", { x, y, fill: color, "font-size": fontSize, "font-weight": fontWeight }, text));
  const visit = node => {
    if (node.nodeType === Node.TEXT_NODE) {
      const look = getComputedStyle(node.parentElement);
      for (const { text, box } of linesOf(node)) write(text.trimEnd(), place(box).x, place(box).y + 0.79 * box.height, look);
      return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches("[data-screen], [aria-checked='false']:not(g), .switch, .row, .spot")) return;
    const box = place(node.getBoundingClientRect()), look = getComputedStyle(node);
    if (!box.width || !box.height || look.visibility === "hidden" || look.display === "none") return;
    if (node.tagName === "CANVAS") parts.push(svg("image", { ...box, href: node.toDataURL(), preserveAspectRatio: "none" }));
    else if (node.tagName === "svg") {
      const copies = [...node.childNodes].map(child => child.cloneNode(true));
      parts.push(svg("g", { transform: `translate(${box.x} ${box.y})` }, ...copies));
    }
    else {
      if (node !== panelNode && look.backgroundColor !== "rgba(0, 0, 0, 0)")
        parts.push(svg("rect", { ...box, fill: look.backgroundColor, rx: Math.min(4, box.height / 2) }));
      node.childNodes.forEach(visit);
    }
  };
  visit(panelNode);
  const { payload } = page.model, { layer, signal, branch, class: name, draw } = page.state;
  const provenance = [payload.title, `layer ${layer + 1}`, `${signal}, ${branch}`, `class ${name}`,
    ...(draw === "all" ? [] : [`draw ${draw}`]), payload.provenance].join(" · ");
  const wide = Math.max(20, Math.floor((frame.width - 20) / 5.8)), soft = { fontSize: "10px", fontWeight: 400, color: "var(--soft)" };
  const rows = provenance.match(new RegExp(`.{1,${wide}}(\\s|$)|\\S{${wide}}`, "g")) ?? [];
  rows.forEach((text, i) => write(text.trim(), 10, frame.height - away + 10 + 13 * i, soft));
  const height = frame.height - away + 14 + 13 * rows.length;
  const picture = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: frame.width, height, viewBox: `0 0 ${frame.width} ${height}`,
    "font-family": "system-ui, sans-serif", "font-size": style.getPropertyValue("--small") },
  svg("title", {}, provenance), svg("rect", { width: frame.width, height, fill: style.getPropertyValue("--panel") }), ...parts);
  const text = new XMLSerializer().serializeToString(picture);
  return text.replace(/var\((--[\w-]+)(?:, var\((--[\w-]+)\))?\)/g,
    (_, one, other) => (style.getPropertyValue(one) || style.getPropertyValue(other)).trim());
}

function keepFile(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** An SVG text as a PNG of twice its size. */
async function asPng(text) {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await picture.decode();
  const canvas = el("canvas", { width: 2 * picture.width, height: 2 * picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done));
}

async function savePanel(page, node, id, kind) {
  const text = panelSvg(page, node), name = `drople-lens-${id}-layer-${page.state.layer + 1}.${kind.toLowerCase()}`;
  keepFile(kind === "SVG" ? new Blob([text], { type: "image/svg+xml" }) : await asPng(text), name);
}

/** All panels of a payload, drawn out of sight as a wide screen shows them: id -> SVG text, and PNG in base64. */
async function pictures(payload, state) {
  const root = el("div", { style: `position:absolute;left:-9999px;top:0;width:${clamp(window.innerWidth - 32, 320, 1280)}px` });
  document.body.append(root);
  const lens = mount(root, { state });
  lens.update(payload);
  await lens.drawn();
  const found = {};
  for (const id of ["says", "matters", "dropped", "looks"]) {
    const svg = lens.picture(id), reader = new FileReader(), png = await asPng(svg);
    await new Promise(done => { reader.onload = done; reader.readAsDataURL(png); });
    found[id] = { svg, png: reader.result.split(",")[1] };
  }
  lens.destroy();
  root.remove();
  return found;
}

// ---- The whole --------------------------------------------------------------------------------------

const START = { layer: null, signal: "blend", class: "", draw: "all", opacity: 0.75, branch: "adapted", read: "last",
  ranked: false, centred: false, shows: "difference", wipe: null, view: "overview" };

/** A text whose names of branches and dropouts stand in their colours. */
function coloured(page, text) {
  const names = [...page.model.conditions].map(name => [name, page.model.label(name)]);
  const pattern = new RegExp(`(${names.map(([, label]) => label.replace(/[^\w ]/g, "\\$&")).join("|")})`, "i");
  return text.split(pattern).map(piece => {
    const found = names.find(([, label]) => label.toLowerCase() === piece.toLowerCase());
    // The palest of the colours would not read as text on the page's own ground.
    return found ? el("b", { style: `color:color-mix(in srgb, ${page.variable(found[0])} 85%, var(--ink))` }, piece) : piece;
  });
}

const PIN = "Pin this result";

/** Builds the overview in `root`, with its places reserved, and returns its handle.
 *  A pinned one (`leader`) is panels alone, which look where its leader does. */
function mount(root, options = {}) {
  const { leader } = options;
  const page = { root, options, model: null, photo: null, state: { ...START, ...options.state }, maps: [], pointed: null, pointing: null, turn: 0, narrow: false, id: "",
    later: null }; // a draw to look at as soon as it comes
  const watched = new Map(), resized = new ResizeObserver(entries => {
    for (const entry of entries) watched.get(entry.target)?.(entry.contentRect);
  });
  page.observe = (node, act) => { watched.set(node, act); resized.observe(node); };

  let colours = new Map();
  page.variable = name => `var(--${name}, var(--spare))`;
  page.colour = name => {
    const style = getComputedStyle(root), given = one => style.getPropertyValue(`--${one}`).trim();
    if (!colours.has(name)) colours.set(name, given(name) || given("spare"));
    return colours.get(name);
  };

  root.classList.add("drople-lens");
  root.classList.toggle("pinned", Boolean(leader));
  root.tabIndex = -1;
  const said = el("p", { class: "said" }), verdict = el("p", { class: "verdict soft" }), chips = el("div", { class: "chips" });
  page.hint = el("button", { type: "button", class: "hint soft", hidden: true, onclick: () => page.guide.open() }, "New here? Take the five-step guide");
  const pin = el("button", { type: "button", class: "hint soft", hidden: !options.pins && !leader,
    title: leader ? "" : "Keeps this result beside the next one", onclick: () => (leader ? leader.pin(null) : page.pin(page.model?.payload)) }, leader ? "Unpin" : PIN);
  const namePin = () => { if (!leader) pin.textContent = pinned && pinned.id() === page.id ? "Pinned below" : PIN; };
  const aside = el("section", { class: "aside", "aria-label": "Pinned result", hidden: true });
  const foot = el("p", { class: "foot soft" }), live = el("p", { class: "live", "aria-live": "polite" });
  page.card = hoverCard(page);
  page.drawer = tokenDrawer(page);
  page.guide = guidedTour(page);
  const bar = controls(page), strip = filmStrip(page);
  const panels = [saysPanel, mattersPanel, droppedPanel, looksPanel].map(build => build(page));
  const parts = leader ? [...panels, page.drawer] : [bar, ...panels, strip, page.drawer];
  root.replaceChildren(el("div", { class: "answer" }, said, el("div", { class: "beside" }, page.hint, el("div", { class: "row" }, chips, pin)), verdict),
    ...(leader ? [] : [bar.node]), el("div", { class: "panels" }, ...panels.map(one => one.node)), ...(leader ? [] : [strip.node]),
    foot, aside, live, page.card.node, page.drawer.node, page.guide.node);
  page.observe(root, ({ width }) => { page.narrow = width < 700; });

  page.mark = token => page.maps.forEach(map => map.mark(token));
  /** Points at a token on all maps and shows its card beside the pointer's view, or beside the patch. */
  page.point = (token, view, byKeys = false) => {
    page.pointed = token;
    page.pointing = token === null ? null : () => page.point(token, view, byKeys);
    page.mark(token);
    if (token === null || !view.node.isConnected) return page.card.hide();
    const { rows, columns, patches } = page.model, box = view.node.getBoundingClientRect(), patch = token < patches;
    const x = box.left + (patch ? (token % columns + 1) / columns * box.width : box.width);
    const y = box.top + (patch ? Math.floor(token / columns) / rows * box.height : 0);
    const details = tokenDetails(page, token, page.state.layer, view.value?.(token));
    page.card.show(details, x, y);
    if (byKeys) say(live, `${details.title}: ${details.rows.map(row => row.join(" ")).join(", ")}`);
    return undefined;
  };

  function render() {
    for (const one of parts) one.render();
    page.pointing?.();
  }
  function redraw() {
    page.turn += 1;
    colours = new Map();
    if (page.model) render();
  }
  function move(change) {
    if (!page.model) return;
    const before = page.state, known = !change.class || page.model.shown.includes(change.class);
    if ("draw" in change) page.later = null;
    page.state = fitted({ ...before, ...change, ...(known ? {} : { class: before.class }) }, page.model);
    render();
    if (!leader && ["layer", "class", "draw", "signal", "branch"].some(name => page.state[name] !== before[name])) say(live, spoken(page));
  }
  let pinned = null;
  /** Moves the state; everything follows at once, and no server is asked. */
  page.set = leader?.set ?? (change => {
    move(change);
    pinned?.move(change);
    options.onState?.(lens.state());
  });
  /** Keeps a payload beside the next ones, or, of null, lets it go. */
  page.pin = payload => {
    if (payload === undefined) return;
    pinned?.destroy();
    aside.replaceChildren();
    aside.hidden = !payload;
    pinned = payload && mount(aside.appendChild(el("div")), { leader: page, state: page.state });
    // The page patches what it was given when the next result comes.
    pinned?.update(JSON.parse(JSON.stringify(payload)));
    namePin();
    say(live, payload ? "Pinned below: it stays there beside the next result." : "Unpinned.");
    pin.focus();
  };
  page.step = (what, way) => {
    if (!page.model) return;
    const { shown } = page.model, at = shown.indexOf(page.state.class);
    page.set(what === "layer" ? { layer: page.state.layer + way } : { class: shown[clamp(at + way, 0, shown.length - 1)] });
  };

  const brackets = event => {
    const step = BRACKETS[event.key];
    if (step && root.offsetParent && (event.target === document.body || root.contains(event.target))) page.step("layer", step);
  };
  if (!leader) document.addEventListener("keydown", brackets);
  root.addEventListener("keydown", event => {
    // Sliders and lists move by these keys themselves.
    if (event.target.matches("input, select") && !BRACKETS[event.key]) event.stopImmediatePropagation();
  });
  onArrows(root, (right, down) => page.step(right ? "layer" : "class", right || down));
  const escape = event => {
    if (event.key !== "Escape") return;
    if (!page.guide.node.hidden) page.guide.shut();
    else if (!page.card.node.hidden) page.point(null);
    else if (!page.drawer.node.hidden) page.drawer.shut();
  };
  document.addEventListener("keydown", escape);
  const looks = new MutationObserver(redraw);
  for (const node of [document.documentElement, document.body]) looks.observe(node, { attributes: true, attributeFilter: ["class"] });

  function usePhoto(source) {
    if (page.source === source) return;
    page.source = source;
    page.photo = null;
    const photo = new Image();
    photo.src = source;
    page.loaded = photo.decode().then(() => {
      if (page.source !== source) return;
      page.photo = greyed(photo);
      redraw();
    }, () => {});
  }

  const lens = {
    /** Shows a payload; the state stays where this payload can show it. */
    update(payload) {
      if (payload.message) return said.replaceChildren(payload.message);
      // More draws, unlike a result, come without a note; late ones are of what is shown no longer.
      if (page.model && payload.draws && !("note" in payload) && payload.id !== page.id) return undefined;
      const known = page.model?.payload;
      page.id = payload.id;
      page.model = read(payload);
      page.turn += 1;
      const wanted = page.later ?? page.state.draw;
      if (known && known.branches.length < payload.branches.length) page.state.branch = START.branch;
      page.state = fitted({ ...page.state, draw: wanted }, page.model);
      page.later = page.state.draw === wanted ? null : wanted;
      usePhoto(payload.photo);
      said.replaceChildren(...coloured(page, payload.sentences.answer));
      chips.replaceChildren(...[leader && "pinned", ...payload.notes, payload.note].filter(Boolean).map(text => el("span", { class: "chip" }, text)));
      say(verdict, payload.verdict);
      const waiting = payload.depth && page.model.count < payload.draws_wanted;
      say(foot, `${waiting ? `${page.model.count} of ${many(payload.draws_wanted, "draw")} so far · ` : ""}${payload.provenance}`);
      root.classList.toggle("waiting", Boolean(waiting));
      root.classList.add("filled");
      render();
      page.hint.hidden = !options.guide || page.guide.seen();
      namePin();
      if (pinned?.id() === payload.id) pinned.update(JSON.parse(JSON.stringify(payload)));
      return undefined;
    },
    id: () => page.id,
    state: () => ({ ...page.state }),
    set: change => page.set(change),
    move,
    guide: () => page.guide.open(),
    /** Once the photograph is there and all parts have their size. */
    drawn: async () => {
      await page.loaded;
      for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    },
    pictures: () => (page.model ? pictures(page.model.payload, page.state) : {}),
    /** A panel ("says", "matters", "dropped", "looks") as SVG text. */
    picture: id => panelSvg(page, root.querySelector(`.panel.${id}`)),
    destroy() {
      for (const heard of [escape, brackets]) document.removeEventListener("keydown", heard);
      looks.disconnect();
      resized.disconnect();
      root.replaceChildren();
    },
  };
  return lens;
}

/** What a change of layer, class or draw means, in a sentence for who does not see it. */
function spoken(page) {
  const { model, state } = page, { layer } = state, top = model.ranked(state.branch, state.signal, layer)[0];
  const said = [`Class looked at: ${state.class}. After layer ${layer + 1}, by ${model.payload.signal_labels[state.signal]}, ${model.label(state.branch)}, most important: `
    + `${model.tokenName(top)}, ${times(model.times(state.branch, state.signal, layer)[top])} an even share.`];
  const counts = model.payload.draws?.summary.layers[layer];
  if (layer >= model.depth) said.push("No dropout here.");
  else if (counts && state.draw === "all") said.push(`${counts.differ} of ${counts.decisions} decisions differ.`);
  return said.join(" ");
}

window.DropleLens = { mount, keepFile };
})();
