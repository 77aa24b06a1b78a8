"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("live");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  // Theme: the system's until somebody chooses; a page that may not remember still switches.
  const theme = document.getElementById("theme");
  const remembered = {
    get: () => { try { return localStorage.getItem("histoguard-theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("histoguard-theme", name); } catch { /* not allowed here */ } },
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const named = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
  if (["light", "dark"].includes(remembered.get())) root.dataset.theme = remembered.get();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered.set(root.dataset.theme);
    named();
  });
  system.addEventListener("change", named);
  named();

  // Sorting: by the first number where every cell begins with one, which 14-22549G does not; what is empty comes last.
  const empty = /^(-|–|no images|)$/;
  const numeric = /^(at most )?[-+]?\d+(\.\d+)?(\/255)?( |$)/;
  const sort = (table, column, ascending) => {
    const body = table.tBodies[table.tBodies.length - 1];
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows];
    const full = rows.map(text).filter((cell) => !empty.test(cell));
    const number = (cell) => parseFloat(cell.match(/[-+]?\d+(\.\d+)?/)[0]);
    const byNumber = full.every((cell) => numeric.test(cell));
    const compare = (a, b) => byNumber ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true });
    rows.sort((a, b) => {
      const [left, right] = [text(a), text(b)];
      const [noLeft, noRight] = [empty.test(left), empty.test(right)];
      if (noLeft || noRight) return noLeft - noRight;
      return ascending ? compare(left, right) : compare(right, left);
    });
    body.append(...rows);
  };
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = made("button", { type: "button" });
      button.append(...head.childNodes);
      if (!button.textContent.trim()) button.setAttribute("aria-label", "sort by this column");
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending);
      });
    });
  }

  // Choices: one of many tables at a time.
  for (const choices of all(".choices")) {
    const tables = [...choices.children];
    const bar = made("div", { className: "pick" });
    const select = (key) => {
      const names = [...new Set(tables.map((table) => table.dataset[key]))];
      const box = made("select");
      names.forEach((name) => box.add(new Option(name, name)));
      const label = made("label", { textContent: `${choices.dataset[key]} ` });
      label.append(box);
      bar.append(label);
      return box;
    };
    const [first, second] = [select("first"), select("second")];
    const show = () => {
      const ofFirst = tables.filter((table) => table.dataset.first === first.value);
      for (const option of second.options) {
        option.disabled = !ofFirst.some((table) => table.dataset.second === option.value);
      }
      if (second.selectedOptions[0]?.disabled) second.value = ofFirst[0].dataset.second;
      for (const table of tables) {
        table.hidden = !(table.dataset.first === first.value && table.dataset.second === second.value);
        table.open = !table.hidden;
      }
    };
    if (tables.length < 2) continue;
    choices.before(bar);
    bar.addEventListener("change", show);
    show();
  }

  // Curves: the values at the epsilon that is nearest to the pointer, or chosen by the arrow keys.
  for (const plot of all(".plot")) {
    const svg = plot.querySelector("svg");
    const places = plot.dataset.places.split(" ").map(Number);
    const table = document.getElementById(plot.dataset.values);
    const box = made("div", { className: "readout", hidden: true });
    box.setAttribute("role", "status");
    const cursor = document.createElementNS(svg.namespaceURI, "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", 10);
    cursor.setAttribute("y2", 254);
    plot.append(box);
    let chosen = -1;
    const show = (place) => {
      chosen = Math.max(0, Math.min(places.length - 1, place));
      ["x1", "x2"].forEach((end) => cursor.setAttribute(end, places[chosen]));
      svg.querySelector(".grid").after(cursor);
      const cell = (row) => row.cells[chosen + 1].textContent;
      const lines = [...table.tBodies[0].rows].filter((row) => cell(row) !== "-");
      box.replaceChildren(
        made("b", { textContent: `epsilon ${cell(table.tHead.rows[0])}` }),
        ...lines.map((row) => made("span", { textContent: `${row.cells[0].textContent}: ${cell(row)}` })),
      );
      const share = places[chosen] / svg.viewBox.baseVal.width;
      box.style.left = share < 0.5 ? `${100 * share + 3}%` : "auto";
      box.style.right = share < 0.5 ? "auto" : `${100 * (1 - share) + 3}%`;
      box.hidden = false;
    };
    const hide = () => { box.hidden = true; cursor.remove(); chosen = -1; };
    plot.addEventListener("pointermove", (event) => {
      const { left, width } = svg.getBoundingClientRect();
      const x = (event.clientX - left) / width * svg.viewBox.baseVal.width;
      const away = places.map((place) => Math.abs(place - x));
      show(away.indexOf(Math.min(...away)));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowRight") show(chosen + 1);
      else if (key === "ArrowLeft") show(chosen < 0 ? places.length - 1 : chosen - 1);
      else if (key === "Escape") hide();
    });
  }

  // Images: the adversarial one is the original plus the difference, which is grey where nothing changes.
  const pixels = (image) => {
    const canvas = made("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const composed = (original, difference, most) => {
    const { data } = difference;
    for (let i = 0; i < data.length; i += 1) {
      if (i % 4 !== 3) data[i] = original.data[i] + (data[i] - 128) / 127 * most * 255;
    }
    return difference;
  };
  const exhibit = async (article) => {
    const [image, canvas] = [article.querySelector(".original"), article.querySelector("canvas")];
    const differences = all(".difference", article);
    await Promise.all([image, ...differences.map((figure) => figure.querySelector("img"))].map((i) => i.decode()));
    const epsilon = article.querySelector(".epsilon");
    const slide = article.querySelector(".slide");
    const show = () => {
      for (const figure of differences) figure.hidden = figure.dataset.version !== epsilon.value;
      for (const row of all("tr[data-version]", article)) {
        if (row.dataset.version === epsilon.value) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      }
      const { dataset } = differences.find((figure) => !figure.hidden);
      const difference = pixels(differences.find((figure) => !figure.hidden).querySelector("img"));
      canvas.getContext("2d").putImageData(composed(pixels(image), difference, Number(dataset.most)), 0, 0);
    };
    const wipe = () => {
      canvas.parentElement.style.setProperty("--edge", `${100 - slide.value}%`);
      slide.setAttribute("aria-valuetext", `${slide.value} % adversarial`);
    };
    epsilon.addEventListener("change", show);
    slide.addEventListener("input", wipe);
    show();
    wipe();
  };
  all(".exhibit").forEach(exhibit);

  // Paper shows everything.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details").map((details) => [details, details.open, details.hidden]);
    folded.forEach(([details]) => { details.open = true; details.hidden = false; });
  });
  addEventListener("afterprint", () => {
    folded.forEach(([details, open, hidden]) => { details.open = open; details.hidden = hidden; });
  });
})();
