"use strict";

// The maths of the page. It mirrors report/colors.py and report/words.py; a test runs both.
const fggb = (() => {
  const FACES = ["probe", "gallery"];

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  }

  function floats(base64) {
    const view = new DataView(bytes(base64).buffer);
    return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  function decode(data) {
    const maps = {};
    for (const face of FACES) {
      maps[face] = { p: floats(data.maps[face].p), q: floats(data.maps[face].q) };
    }
    const tables = {
      similarity: bytes(data.tables.similarity),
      dissimilarity: bytes(data.tables.dissimilarity),
    };
    return { ...data, maps, tables };
  }

  // S = P − t·Q, rounded to float32 after each step: the very bits that NumPy gives.
  function signed({ p, q }, t) {
    const t32 = Math.fround(t);
    return p.map((value, i) => value - Math.fround(t32 * q[i]));
  }

  const finite = (values) => values.map((x) => (Number.isFinite(x) ? x : 0));
  const peak = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

  function mass(values) {
    let sum = 0;
    for (const x of values) sum += Math.abs(x);
    return sum;
  }

  function part(values, kind) {
    if (kind === "similarity") return values.map((x) => Math.max(x, 0));
    return kind === "dissimilarity" ? values.map((x) => Math.max(-x, 0)) : values;
  }

  // A Gaussian that keeps the sum: the image is mirrored at its edges.
  function smooth(values, height, width, sigma) {
    if (!(sigma > 0)) return values;
    const radius = Math.ceil(4 * sigma);
    const weights = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
      Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
    const total = weights.reduce((a, b) => a + b);
    const pass = (input, n, step, lines, stride) => {
      const output = new Float64Array(input.length);
      for (let line = 0; line < lines; line++) {
        for (let i = 0; i < n; i++) {
          let sum = 0;
          for (let k = -radius; k <= radius; k++) {
            const j = (((i + k) % (2 * n)) + 2 * n) % (2 * n);
            sum += weights[k + radius] * input[line * stride + (j < n ? j : 2 * n - 1 - j) * step];
          }
          output[line * stride + i * step] = sum / total;
        }
      }
      return output;
    };
    const columns = pass(values, height, width, width, 1);
    return Float32Array.from(pass(columns, width, 1, height, width));
  }

  // All that is drawn for one kind of map: values, common scale, share of mass, empty or not.
  function panels(data, kind, t, sigma) {
    const { height, width, maps, rules } = data;
    const own = kind === "pair_specific";
    const at = own ? Math.min(Math.max(data.cosine, -1), 1) : t;
    const both = (f) => FACES.map(f);
    const most = (list) => Math.max(...list.map(peak));
    const here = both((face) => finite(signed(maps[face], t)));
    const s = own ? both((face) => finite(signed(maps[face], at))) : here;
    const kinds = own ? ["signed"] : ["similarity", "dissimilarity"];
    const rawScale = most(s);
    const scale = sigma > 0
      ? Math.max(...kinds.map((k) => most(s.map((x) => smooth(part(x, k), height, width, sigma)))))
      : rawScale;
    const size = (name) => most(both((face) => finite(maps[face][name])));
    const floor = rules.rounding * (size("p") + Math.abs(at) * size("q"));
    const result = {};
    FACES.forEach((face, i) => {
      const raw = part(s[i], kind);
      const whole = mass(here[i]);
      const share = whole > 0 ? mass(raw) / whole : null;
      const top = peak(raw);
      const low = (share ?? 0) < rules.share && top < rules.peak * rawScale;
      const values = smooth(raw, height, width, sigma);
      result[face] = { values, scale, share, empty: top <= floor || low };
    });
    return result;
  }

  // RGBA of a map, one table for each sign; nothing at all where it is empty.
  function overlay({ values, scale, empty }, kind, tables) {
    const out = new Uint8ClampedArray(4 * values.length);
    if (empty) return out;
    values.forEach((value, i) => {
      const cool = kind === "dissimilarity" || value < 0;
      const level = Math.floor(Math.min(Math.abs(value) / scale, 1) * 255 + 0.5);
      const table = cool ? tables.dissimilarity : tables.similarity;
      out.set(table.subarray(4 * level, 4 * level + 4), 4 * i);
    });
    return out;
  }

  // An aligned face's overlay in its place on a photograph, on a canvas `n` times as fine.
  function drawBack(context, overlay, { width, height, back }, n) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, n * width, n * height);
    context.setTransform(...back.map((x) => n * x));
    context.drawImage(overlay, 0, 0);
  }

  const minus = (text) => text.replace("-", "−");
  const number = (x, digits = 4) => minus((Number(x.toFixed(digits)) + 0).toFixed(digits));

  function significant(x) {
    return x === 0 ? "0" : number(x, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(x)))));
  }

  function percent(share) {
    if (share === null) return "–";
    if (share > 0 && share < 0.001) return "< 0.1 %";
    if (share > 0.999 && share < 1) return "> 99.9 %";
    return `${(100 * share).toFixed(share === 0 || share === 1 ? 0 : 1)} %`;
  }

  function verdict(cosine, t) {
    let digits = 4;
    while (cosine !== t && digits < 9 && number(cosine, digits) === number(t, digits)) digits++;
    const accept = cosine >= t;
    const sign = accept ? "≥" : "<";
    return {
      decision: accept ? "accept" : "reject",
      score: `cosine ${number(cosine, digits)} ${sign} threshold ${number(t, digits)}`,
    };
  }

  function exponent(scale) {
    return scale > 0 ? 3 * Math.floor(Math.log10(scale) / 3) : 0;
  }

  function power(n) {
    const raised = [...String(n)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
    return n ? `×10${raised}` : "";
  }

  return {
    FACES, decode, signed, smooth, panels, overlay, drawBack, number, significant, percent,
    verdict, exponent, power,
  };
})();

// What the reader moves. All state is here; `show` draws all of it.
function start() {
  const $ = (id) => document.getElementById(id);
  const data = fggb.decode(JSON.parse($("data").textContent));
  const { height, width } = data;
  const recorded = data.threshold;
  const cosine = Math.min(Math.max(data.cosine, -1), 1);
  const kind = data.cosine >= recorded ? "similarity" : "dissimilarity"; // what the decision rests on
  const state = { t: recorded, kind, sigma: 0, opacity: 1, at: null };

  const canvases = Object.fromEntries(fggb.FACES.map((face) => [face, $(`${face}-map`)]));
  let drawn = null;

  // The photographs, where the page has them: each with its canvas and, inside the outline, the
  // photograph in grey, as the faces above are.
  const FINE = 1200; // pixels of a canvas's longer side, at least
  const photographs = [...document.querySelectorAll("[data-photograph]")].map((panel) => {
    const face = panel.dataset.photograph;
    const view = data.photographs[face];
    const canvas = panel.querySelector("canvas");
    const n = Math.ceil(FINE / Math.max(view.width, view.height));
    [canvas.width, canvas.height] = [n * view.width, n * view.height];
    canvas.getContext("2d").imageSmoothingQuality = "high";
    const grey = panel.querySelector("img").cloneNode();
    grey.className = "washed";
    panel.querySelector(".window").append(grey);
    return { face, view, panel, canvas, n };
  });

  // What a reader can point at: panels with the way from the aligned face's pixels to their own
  // size, 1 × 1.
  const places = [...document.querySelectorAll(".panel")].map((panel) => {
    const view = data.photographs[panel.dataset.photograph];
    const size = view ?? { width, height };
    const place = new DOMMatrix().scale(1 / size.width, 1 / size.height);
    return { panel, place: view ? place.multiply(new DOMMatrix(view.back)) : place };
  }).filter(({ panel }) => panel.querySelector(".cross"));

  function show() {
    const { t, kind, sigma } = state;
    drawn = fggb.panels(data, kind, t, sigma);
    for (const face of fggb.FACES) {
      const canvas = canvases[face];
      const image = new ImageData(fggb.overlay(drawn[face], kind, data.tables), width, height);
      canvas.getContext("2d").putImageData(image, 0, 0);
      canvas.style.opacity = state.opacity;
      $(`${face}-empty`).hidden = !drawn[face].empty;
      const share = fggb.percent(drawn[face].share);
      const whole = kind === "pair_specific" ? "as much mass as this face’s S" : "of this face’s mass Σ|S|";
      $(`${face}-share`).textContent = `${share} ${whole}`;
    }
    for (const { face, view, panel, canvas, n } of photographs) {
      fggb.drawBack(canvas.getContext("2d"), canvases[face], view, n);
      canvas.style.opacity = state.opacity;
      panel.querySelector(".empty").hidden = !drawn[face].empty;
    }
    showVerdict();
    showControls();
    showBar();
    readOut();
  }

  function showVerdict() {
    const { decision, score } = fggb.verdict(data.cosine, state.t);
    $("decision").textContent = decision;
    $("score").textContent = score;
    $("verdict").dataset.decision = decision;
    const verb = decision === "accept" ? "would take" : "would not take";
    $("meaning").textContent = state.t === recorded
      ? $("meaning").dataset.recorded
      : `What if? At this threshold the model ${verb} the two faces for the same person.`;
  }

  function showControls() {
    $("threshold").value = state.t;
    $("threshold").setAttribute("aria-valuetext", fggb.number(state.t));
    if (document.activeElement !== $("threshold-number")) {
      $("threshold-number").value = Number(state.t.toFixed(4));
    }
    $("opacity-value").textContent = `${Math.round(100 * state.opacity)} %`;
    $("sigma-value").textContent = state.sigma > 0 ? `σ = ${state.sigma} px` : "off";
    $("reset").disabled = state.t === recorded;
    $("own").disabled = state.t === cosine;
    for (const radio of document.querySelectorAll("input[name=kind]")) {
      radio.checked = radio.value === state.kind;
    }
    const own = state.kind === "pair_specific";
    $("scale-note").textContent = own
      ? "P − cos·Q: does not move with the threshold; a scale of its own, the same for both faces"
      : "one scale for both faces and for similarity, dissimilarity and signed";
  }

  function showBar() {
    const { kind } = state;
    const both = kind === "signed" || kind === "pair_specific";
    const scale = drawn.probe.scale;
    const low = both ? -1 : 0;
    const values = Float32Array.from({ length: 512 }, (_, i) => low + ((1 - low) * i) / 511);
    const colors = fggb.overlay({ values, scale: 1, empty: false }, kind, data.tables);
    $("bar").getContext("2d").putImageData(new ImageData(colors, 512, 1), 0, 0);
    const n = fggb.exponent(scale);
    ["low", "middle", "high"].forEach((name, i) => {
      const value = (low + ((1 - low) * i) / 2) * scale;
      $(`bar-${name}`).textContent = fggb.significant(value / 10 ** n);
    });
    const symbol = { similarity: "S", dissimilarity: "−S", signed: "S", pair_specific: "P − cos·Q" };
    const title = document.querySelector(`input[value=${kind}] + span b`).textContent;
    $("bar-unit").textContent = `${title}: ${symbol[kind]} ${fggb.power(n)}`.trim();
  }

  function readOut() {
    const { at } = state;
    for (const { panel, place } of places) {
      const cross = panel.querySelector(".cross");
      cross.hidden = at === null;
      if (at) {
        const { x, y } = place.transformPoint({ x: at.x + 0.5, y: at.y + 0.5 });
        cross.style.left = `${100 * x}%`;
        cross.style.top = `${100 * y}%`;
      }
    }
    $("place").textContent = at ? `x = ${at.x}, y = ${at.y}` : "point at a face";
    const t = Math.fround(state.t);
    for (const face of fggb.FACES) {
      const { p, q } = data.maps[face];
      const i = at ? at.y * width + at.x : 0;
      const values = { s: Math.fround(p[i] - Math.fround(t * q[i])), p: p[i], q: q[i] };
      for (const [name, value] of Object.entries(values)) {
        $(`${face}-${name}`).textContent = at ? value.toExponential(3).replaceAll("-", "−") : "–";
      }
    }
  }

  const moveTo = (t) => {
    state.t = Math.min(Math.max(t, -1), 1);
    show();
  };
  $("threshold").addEventListener("input", (event) => moveTo(Number(event.target.value)));
  $("threshold-number").addEventListener("input", (event) => {
    if (event.target.value !== "" && event.target.validity.valid) moveTo(Number(event.target.value));
  });
  $("threshold-number").addEventListener("blur", show);
  $("reset").addEventListener("click", () => moveTo(recorded));
  $("own").addEventListener("click", () => {
    state.kind = "signed";
    moveTo(cosine);
  });
  $("opacity").addEventListener("input", (event) => {
    state.opacity = Number(event.target.value);
    show();
  });
  $("sigma").addEventListener("input", (event) => {
    state.sigma = Number(event.target.value);
    show();
  });
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => {
      state.kind = radio.value;
      show();
    });
  }

  const point = (x, y) => {
    const inside = (v, n) => Math.min(Math.max(v, 0), n - 1);
    state.at = { x: inside(x, width), y: inside(y, height) };
    readOut();
  };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  for (const { panel, place } of places) {
    const back = place.inverse();
    const follow = (event) => {
      const box = panel.getBoundingClientRect();
      const { x, y } = back.transformPoint({
        x: (event.clientX - box.left) / box.width,
        y: (event.clientY - box.top) / box.height,
      });
      point(Math.floor(x), Math.floor(y));
    };
    panel.addEventListener("pointermove", follow);
    panel.addEventListener("pointerdown", follow);
    panel.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const { x, y } = state.at ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
      const far = event.shiftKey ? 10 : 1;
      point(x + far * step[0], y + far * step[1]);
    });
  }

  // Marks on the threshold's track, where a slider's thumb would stand.
  for (const [id, value] of [["mark-cosine", cosine], ["mark-recorded", recorded]]) {
    $(id).style.setProperty("--at", (value + 1) / 2);
  }
  document.documentElement.classList.add("live");
  show();
}

globalThis.fggb = fggb;
if (typeof document !== "undefined") start();
