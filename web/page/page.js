// The page: what is chosen, asked for and shown.

import { KINDS, Laboratory, Stopped } from "./laboratory.js";
import { compare, draw, onFile } from "./pictures.js";

const at = (id) => document.getElementById(id);
const MAX_CHECKPOINT = 1 << 30;
const MAX_IMAGE = 256 << 20;
const UNITS = {
  Linf: "Budget (grey levels of 255)", L2: "Budget (L2 of [0,1])", L1: "Budget (L1 of [0,1])", L0: "Budget (values)",
};
const USUAL = { Linf: 2, L2: 0.5, L1: 10, L0: 100 };

const laboratory = new Laboratory(showStep, new URL(location).searchParams.get("kind"));
let choices = [];
let network = null;
let image = null;
let busy = false;
let links = {};

// Runs one piece of work at a time; what goes wrong is said, and the page goes on.
async function work(what, job) {
  if (busy) return;
  busy = true;
  at("error").hidden = true;
  at("progress").textContent = what;
  const bar = at("bar");
  bar.removeAttribute("value");
  enable();
  const started = performance.now();
  try {
    await job();
    at("progress").textContent = `Done in ${((performance.now() - started) / 1000).toFixed(2)} s.`;
  } catch (error) {
    at("progress").textContent = error instanceof Stopped ? "Stopped." : "";
    if (!(error instanceof Stopped)) fail(error.message);
  } finally {
    bar.value = 0;
    busy = false;
    enable();
  }
}

function fail(message) {
  const error = at("error");
  error.textContent = message;
  error.hidden = false;
  error.scrollIntoView({ block: "nearest" });
}

function enable() {
  at("start").disabled = busy || !network || !image;
  at("evaluate").disabled = busy || !network || network.classes !== 2 || network.channels !== 3;
  at("stop").disabled = !busy;
  for (const id of ["bundled", "draw", "network-file", "image-file"]) at(id).disabled = busy;
}

function showStep(done, total) {
  const bar = at("bar");
  if (total) {
    bar.max = total;
    bar.value = Math.min(done, total);
    at("progress").textContent = `${Math.min(done, total)} of ${total}`;
  } else {
    at("progress").textContent = `step ${done}`;
  }
}

// Whole numbers, whatever was typed; what is no number becomes 0, and is refused by name.
const whole = (id) => Math.trunc(Number(at(id).value)) || 0;
const side = () => whole("side");

function className(index) {
  const names = at("classes").value.split(",").map((name) => name.trim()).filter(Boolean);
  return names.length === network.classes ? names[index] : `class ${index}`;
}

// The file's bytes, unless it is too large to be what is asked for.
async function bytesOf(file, most, what) {
  if (file.size > most) throw new Error(`${file.name}: expected ${what} of at most ${most >> 20} MB, found ${file.size >> 20} MB`);
  if (file.size === 0) throw new Error(`${file.name}: expected ${what}, found an empty file`);
  return file.arrayBuffer();
}

function takeNetwork(name, read) {
  return work(`Loading ${name}`, async () => {
    const summary = await laboratory.load(name, await read(), at("normalization").value);
    network = summary;
    at("network").textContent =
      `${name}: ${summary.architecture}, ${summary.classes} classes, ${summary.channels === 1 ? "grey" : "RGB"} images of ${summary.smallest} pixels and more.`;
    at("notes").replaceChildren(...summary.notes.map((note) => item("li", note)));
    showTargets();
    if (image) await look();
  });
}

function takeImage(what, ask) {
  return work(what, async () => {
    const { width, height } = await ask();
    image = { width, height };
    at("image").textContent = `${what}: ${width} x ${height} pixels`;
    if (network) await look();
  });
}

// What the network says of the image before any attack.
async function look() {
  const { probabilities, pictures } = await laboratory.predict(side());
  draw(at("original"), pictures.original, side());
  draw(at("adversarial"), pictures.original, side());
  at("difference").getContext("2d").reset?.();
  at("result").hidden = false;
  const best = probabilities.indexOf(Math.max(...probabilities));
  at("verdict").textContent = `The network says ${className(best)} (${percent(probabilities[best])}). Nothing is attacked yet.`;
  showProbabilities([probabilities]);
  at("figures").replaceChildren();
  at("download").hidden = true;
}

function request() {
  const target = at("target").value;
  return {
    attack: at("attack").value, norm: at("norm").value || "Linf", epsilon: Number(at("epsilon").value),
    effort: whole("effort"), seed: Math.max(whole("seed"), 0), target: target === "" ? null : Number(target),
  };
}

function attack() {
  return work("Attacking", async () => {
    const asked = request();
    const { answer, pictures, png } = await laboratory.attack(asked, side(), Number(at("times").value));
    for (const name of ["original", "adversarial", "difference"]) draw(at(name), pictures[name], side());
    at("result").hidden = false;
    const [from, to, kept] = ["before", "after", "saved"].map((key) => answer[key].indexOf(Math.max(...answer[key])));
    const within = answer.budget ? ` within ${answer.budget}` : "";
    at("verdict").textContent = answer.success
      ? `${answer.attack}${within}: ${className(from)} became ${className(to)}. ` +
        (answer.survives ? "The PNG fools the network, too." : `Rounded to a PNG it does not: the network says ${className(kept)}.`)
      : `${answer.attack}${within} did not reach its goal: the network says ${className(to)}.`;
    showProbabilities([answer.before, answer.after, answer.saved]);
    showFigures(answer);
    link("download", new Blob([png], { type: "image/png" }));
  });
}

function evaluate() {
  return work("Evaluating", async () => {
    const { clean, attacked, html } = await laboratory.evaluate(request(), side(), whole("per-class"));
    const said = ({ hits, total, interval }) =>
      `${hits} of ${total} (95 % interval ${percent(interval.low)} to ${percent(interval.high)})`;
    at("accuracy").textContent = `Right without attack: ${said(clean)}. Right under attack: ${said(attacked)}.`;
    link("report", new Blob([html], { type: "text/html" }));
  });
}

function link(id, blob) {
  if (links[id]) URL.revokeObjectURL(links[id]);
  links[id] = URL.createObjectURL(blob);
  at(id).href = links[id];
  at(id).hidden = false;
}

function showProbabilities(columns) {
  const rows = columns[0].map((_, index) => index);
  // Of many classes those that matter.
  const most = (index) => Math.max(...columns.map((column) => column[index]));
  const shown = rows.length > 12 ? rows.sort((a, b) => most(b) - most(a)).slice(0, 12) : rows;
  at("probabilities").tBodies[0].replaceChildren(...shown.map((index) => {
    const row = document.createElement("tr");
    const head = item("th", className(index));
    head.scope = "row";
    const cells = [0, 1, 2].map((column) => {
      const value = columns[column]?.[index];
      const cell = item("td", value === undefined ? "-" : percent(value));
      if (value !== undefined && value === Math.max(...columns[column])) cell.className = "highest";
      return cell;
    });
    row.replaceChildren(head, ...cells);
    return row;
  }));
}

function showFigures({ distances, saved_distances: saved, forwards, gradients, seconds }) {
  const levels = (d) => `${(255 * d.linf).toFixed(2)} grey levels at most, L2 ${d.l2.toFixed(3)}, ${d.l0} values` +
    (d.ssim === null ? "" : `, SSIM ${d.ssim.toFixed(4)}`) + (d.psnr === null ? "" : `, PSNR ${d.psnr.toFixed(1)} dB`);
  const rows = [
    ["change", levels(distances)], ["change as a PNG", levels(saved)],
    ["cost", `${gradients} gradients and ${forwards} answers in ${seconds.toFixed(2)} s`],
  ];
  at("figures").replaceChildren(...rows.flatMap(([name, value]) => [item("dt", name), item("dd", value)]));
}

function showTargets() {
  const options = [["", "away from the network's answer"]];
  for (let index = 0; index < network.classes; index++) options.push([index, `towards ${className(index)}`]);
  at("target").replaceChildren(...options.map(([value, text]) => option(value, text)));
}

function showChoice() {
  const choice = choices.find(({ name }) => name === at("attack").value);
  at("about").textContent = `${choice.title}: ${choice.about}.`;
  at("norm").replaceChildren(...choice.norms.map((norm) => option(norm, norm)));
  at("norm").disabled = at("epsilon").disabled = choice.norms.length === 0;
  const [what, usual] = choice.effort ?? ["steps", 1];
  at("effort-name").textContent = what === "steps" ? "Steps" : "Queries";
  at("effort").max = choice.most;
  at("effort").value = usual;
  at("effort").disabled = choice.effort === null;
  showNorm();
}

function showNorm() {
  const norm = at("norm").value || "Linf";
  at("epsilon-name").textContent = UNITS[norm];
  at("epsilon").value = USUAL[norm];
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function item(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function option(value, text) {
  const element = item("option", text);
  element.value = value;
  return element;
}

const takeBundled = () => takeNetwork("drawn-tissue.safetensors", async () => {
  const answer = await fetch("drawn-tissue.safetensors");
  if (!answer.ok) throw new Error(`drawn-tissue.safetensors: expected the network that comes with the page, found status ${answer.status}`);
  return answer.arrayBuffer();
});
const takeDrawing = () => {
  const malignant = at("drawn").value === "malignant";
  const number = whole("number");
  return takeImage(`Drawn ${at("drawn").value} tissue ${number}`, () => laboratory.draw(malignant, number));
};

onFile(at("network-drop"), at("network-file"),
  (file) => takeNetwork(file.name, () => bytesOf(file, MAX_CHECKPOINT, "a checkpoint")));
onFile(at("image-drop"), at("image-file"),
  (file) => takeImage(file.name, async () => laboratory.open(file.name, await bytesOf(file, MAX_IMAGE, "an image"))));
at("bundled").addEventListener("click", takeBundled);
at("draw").addEventListener("click", takeDrawing);
at("attack").addEventListener("change", showChoice);
at("norm").addEventListener("change", showNorm);
at("start").addEventListener("click", attack);
at("stop").addEventListener("click", () => laboratory.stop());
at("evaluate").addEventListener("click", evaluate);
at("side").addEventListener("change", () => { if (network && image) work("Resizing", look); });
at("classes").addEventListener("change", () => { if (network) showTargets(); });
at("times").addEventListener("input", () => { at("times-shown").value = at("times").value; });
at("times").addEventListener("change", async () => {
  if (busy || at("download").hidden) return;
  work("Drawing", async () => draw(at("difference"), await laboratory.difference(Number(at("times").value)), side()));
});
compare(at("slider"), document.querySelector(".compare"));
// A file that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

try {
  const { choices: offered, simd, threads } = await laboratory.started;
  choices = offered;
  at("attack").replaceChildren(...choices.map(({ name, title }) => option(name, title)));
  at("attack").value = "pgd";
  showChoice();
  at("engine").textContent = simd ? `histoguard's kernels with vectors${threads > 1 ? ` and ${threads} threads` : ""}` : "burn's operations, as this browser has no vectors";
  await takeBundled();
  await takeDrawing();
} catch (error) {
  fail(`The computation did not start: ${error.message}`);
}
document.body.dataset.ready = "true";
navigator.serviceWorker?.register("offline.js").catch(() => {});
// Threads need headers that offline.js adds. Whoever has begun to use the page gets them at the next visit.
navigator.serviceWorker?.addEventListener("controllerchange", () => {
  if (KINDS.includes("threads") && !crossOriginIsolated && !navigator.userActivation?.hasBeenActive) location.reload();
});
