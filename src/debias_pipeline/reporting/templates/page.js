// What pages do beyond showing: charts, switches, sorting, filters, copies, full-size images.
// Without it, everything is visible.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const json = (element) => (element ? JSON.parse(element.textContent) : {});
  const page = json(document.getElementById("page-data"));
  const chosen = { rule: "last", seed: "mean" };
  const filters = []; // of all tables and galleries
  root.classList.add("js");

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function select(name, options, change) {
    const choices = options.map(([value, text]) => make("option", { value, textContent: text }));
    const box = make("select", {}, ...choices);
    box.addEventListener("change", () => change(box.value));
    return make("label", {}, `${name} `, box);
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Some browsers allow it only on pages of a server.
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const name = button.dataset.name ?? (button.dataset.name = button.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = name), 1500);
  }

  function copyButton(name, text) {
    const button = make("button", { type: "button", textContent: name });
    button.addEventListener("click", () => copy(text(), button));
    return button;
  }

  // --- Charts ------------------------------------------------------------------------------------

  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const drawn = new Map(); // element → what it shows, and Vega's view

  // Replace names of CSS variables by their values.
  function coloured(value) {
    if (typeof value === "string") return value.startsWith("--") ? variable(value) || value : value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each)]));
  }

  const rows = ({ columns, rows }) =>
    rows.map((row) => Object.fromEntries(columns.map((name, place) => [name, row[place]])));

  function groupRows() {
    if (!page.groups) return [];
    const values = page.groups.values[`${chosen.rule}/${chosen.seed}`] ?? [];
    return rows(page.groups).map((group, place) => {
      const [accuracy, , interval] = values[place] ?? [null, "", ""];
      return { ...group, accuracy, interval };
    });
  }

  function config() {
    const [text, quiet, line] = ["--text", "--quiet", "--line"].map(variable);
    const named = { labelColor: text, titleColor: text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400 };
    return {
      background: null,
      font: getComputedStyle(document.body).fontFamily,
      aria: false,
      axis: { ...named, gridColor: line, domainColor: quiet, tickColor: quiet },
      legend: named,
      view: { stroke: null },
    };
  }

  async function draw(element) {
    const state = drawn.get(element);
    const { chart, holder } = state;
    const spec = coloured(chart.spec);
    const tables = Object.entries(chart.tables).map(([name, table]) => [name, rows(table)]);
    spec.datasets = { ...Object.fromEntries(tables), groups: groupRows() };
    const values = { ...chosen, hidden: state.hidden, choice: state.choice, flip: +variable("--heat-flip") };
    spec.params = Object.entries(values).map(([name, value]) => ({ name, value }));
    spec.width = "container";
    // Vega takes the width of what is visible.
    element.closest("figure").classList.add("live");
    // On a touch screen it would be impossible to scroll past the chart.
    const zooms = chart.zooms && matchMedia("(pointer: fine)").matches;
    if (zooms) {
      const interval = { type: "interval", zoom: "wheel![event.shiftKey]" };
      spec.layer.at(-1).params = [{ name: "zoom", select: interval, bind: "scales" }];
    }
    element.classList.toggle("zooms", zooms);
    state.result?.finalize();
    // The interpreter of expressions needs no eval(), which the page does not allow.
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config: config() };
    options.tooltip = { theme: scheme.matches ? "dark" : "light" };
    state.result = await window.vegaEmbed(holder, spec, options);
    // The holder has a description of the whole chart.
    holder.querySelector("svg").setAttribute("aria-hidden", "true");
  }

  async function signal(element, name, value) {
    const view = drawn.get(element).result?.view;
    if (view) await view.signal(name, value).runAsync();
  }

  function legend(element, chart, state) {
    const box = make("div", { className: "legend" });
    if (chart.choices.length > 1) {
      box.append(select("Show", chart.choices, (value) => signal(element, "choice", (state.choice = value))));
    }
    for (const { name, colour, dash, symbol } of chart.series) {
      const mark = make("i", { className: symbol ? "symbol" : dash.length ? "dashed" : "", textContent: symbol });
      mark.style.setProperty("--mark-colour", `var(${colour})`);
      const tick = make("input", { type: "checkbox", checked: true });
      tick.addEventListener("change", () => {
        state.hidden = state.hidden.filter((each) => each !== name).concat(tick.checked ? [] : [name]);
        signal(element, "hidden", state.hidden);
      });
      box.append(make("label", {}, tick, mark, name));
    }
    return box;
  }

  function prepareCharts() {
    if (!window.vegaEmbed) return;
    for (const element of all(".chart")) {
      const chart = json(element.querySelector("script"));
      const holder = make("div", { className: "plot" });
      holder.setAttribute("role", "img");
      holder.setAttribute("aria-label", element.dataset.alt);
      const state = { chart, holder, hidden: [], choice: chart.choices[0]?.[0] ?? "" };
      drawn.set(element, state);
      element.append(legend(element, chart, state), holder);
      if (chart.zooms) {
        const hint = "Drag to move, Shift and the mouse wheel to zoom, double-click to reset.";
        element.append(make("p", { className: "hint quiet", textContent: hint }));
      }
    }
    const drawAll = () => Promise.all([...drawn.keys()].map(draw));
    scheme.addEventListener("change", drawAll);
    return drawAll();
  }

  // --- Switches of the selection rule and the seed -----------------------------------------------

  function show() {
    const key = `${chosen.rule}/${chosen.seed}`;
    const place = page.seeds.indexOf(chosen.seed);
    all("[data-rule]").forEach((part) => {
      part.classList.toggle("chosen", part.dataset.rule === chosen.rule);
      if (part.tagName !== "TR") part.hidden = chosen.rule !== "all" && part.dataset.rule !== chosen.rule;
    });
    all("td[data-seeds]").forEach((cell) => {
      cell.dataset.mean ??= cell.firstChild.textContent;
      cell.firstChild.textContent = place < 0 ? cell.dataset.mean : cell.dataset.seeds.split("|")[place];
      all("small", cell).forEach((line) => (line.hidden = place >= 0));
    });
    all("#key td").forEach((cell, row) => {
      if (page.key?.[key]?.[row] !== undefined) cell.firstChild.textContent = page.key[key][row];
      all("small", cell).forEach((line) => (line.hidden = key !== "last/mean"));
    });
    all("#groups [data-group]").forEach((row) => {
      const [, accuracy, interval] = page.groups.values[key]?.[row.dataset.group] ?? [null, "–", ""];
      row.cells[5].textContent = accuracy;
      row.cells[6].textContent = interval;
    });
    all("[data-branch]").forEach((table) => showConfusion(table, page.confusions[table.dataset.branch], key));
    all("[data-shown]").forEach((text) => (text.textContent = inWords()));
    filters.forEach((filter) => filter());
    const groups = groupRows();
    for (const [element, { result, chart }] of drawn) {
      if (!result) continue;
      if (JSON.stringify(chart.spec).includes('"groups"')) result.view.data("groups", groups);
      // A chart of all rules does not exist.
      signal(element, "rule", chosen.rule === "all" ? "last" : chosen.rule);
      signal(element, "seed", chosen.seed);
    }
  }

  function inWords() {
    const rule = page.rules.find(([key]) => key === chosen.rule)[1];
    return `selection rule: ${rule}; ${chosen.seed === "mean" ? "all seeds" : `seed ${chosen.seed}`}`;
  }

  function showConfusion(table, counts, key) {
    const matrix = counts[key] ?? [];
    all("tbody tr", table).forEach((row, label) => {
      const total = Math.max(1, matrix[label].reduce((sum, each) => sum + each, 0));
      all("td", row).forEach((cell, predicted) => {
        const count = matrix[label][predicted];
        const percent = Math.round((100 * count) / total);
        cell.textContent = count ? percent : "";
        cell.style.setProperty("--share", percent);
        cell.title = cell.title.replace(/: .*/, `: ${count} of ${total} (${percent} %)`);
      });
    });
  }

  function prepareSwitch() {
    const bar = document.getElementById("switch");
    if (!bar) return;
    if (page.rules.length > 1) bar.append(select("Selection rule", page.rules, (rule) => change({ rule })));
    const seeds = [["mean", "mean of all"], ...page.seeds.map((seed) => [seed, seed])];
    if (page.seeds.length > 1) bar.append(select("Seed", seeds, (seed) => change({ seed })));
    bar.hidden = !bar.children.length;
    show();
  }

  function change(values) {
    Object.assign(chosen, values);
    show();
  }

  // --- Tables ------------------------------------------------------------------------------------

  const texts = (cell) => cell.innerText.trim().replace(/\s+/g, " ");

  function number(text) {
    const found = text.replace(/,/g, "").replace("−", "-").match(/^[<>+±]?\s*(-?\d+(\.\d+)?)/);
    return found ? +found[1] : NaN;
  }

  const value = (cell) => cell.dataset.value ?? cell.textContent.trim();

  // Rows stay in their part of the table, below its headings; those without a number come last.
  function sort(table, column, descending) {
    const sign = descending ? -1 : 1;
    for (const body of table.tBodies) {
      const sorted = all("tr:not(.section)", body).sort((a, b) => {
        const [x, y] = [a, b].map((row) => value(row.cells[column]));
        if (!x || x === "–" || !y || y === "–") return (!x || x === "–") - (!y || y === "–");
        const [p, q] = [number(x), number(y)];
        if (isNaN(p) !== isNaN(q)) return isNaN(p) - isNaN(q);
        return sign * (isNaN(p) ? x.localeCompare(y, "en", { numeric: true }) : p - q);
      });
      body.append(...sorted);
    }
  }

  function prepareSorting(table) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
    return prepareFilters(table);
  }

  function prepareFilters(table) {
    const search = make("input", { type: "search", placeholder: table.dataset.example });
    const count = make("span", { className: "quiet" });
    const rowsOf = all("tbody tr:not(.section)", table);
    const wanted = {};
    // A row may have several values.
    const valuesOf = (row, key) => row.dataset[key].split("|");
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      rowsOf.forEach((row) => {
        const parts = [...row.cells].slice(0, 3).map((cell) => cell.textContent.toLowerCase());
        const differs = Object.entries(wanted).some(([key, value]) => value && !valuesOf(row, key).includes(value));
        row.hidden = differs || !words.every((word) => parts.some((part) => part.includes(word)));
      });
      const shown = rowsOf.filter((row) => !row.parentElement.hidden);
      count.textContent = `${shown.filter((row) => !row.hidden).length} of ${shown.length} ${table.dataset.rows}`;
    };
    const choices = Object.entries(JSON.parse(table.dataset.filters ?? "{}")).flatMap(([key, name]) => {
      const values = [...new Set(rowsOf.flatMap((row) => valuesOf(row, key)))];
      const options = [["", "all"], ...values.map((value) => [value, value])];
      return values.length > 1 ? [select(name, options, (value) => ((wanted[key] = value), filter()))] : [];
    });
    search.addEventListener("input", filter);
    filters.push(filter);
    filter();
    return [make("label", {}, "Filter ", search), ...choices, count];
  }

  function shownCells(table) {
    const shown = [...table.rows].filter((row) => row.getClientRects().length);
    return shown.map((row) => [...row.cells].flatMap((cell) => [texts(cell), ...Array(cell.colSpan - 1).fill("")]));
  }

  function asMarkdown(table) {
    const cells = shownCells(table);
    const lines = cells.map((row) => `| ${row.map((each) => each.replace(/\|/g, "\\|")).join(" | ")} |`);
    lines.splice(1, 0, "|---".repeat(cells[0].length) + "|");
    return lines.join("\n") + "\n";
  }

  function asCsv(table) {
    // A spreadsheet would run text that begins with one of these as a formula.
    const safe = (text) => (/^[=+@\t-]/.test(text) ? `'${text}` : text);
    const quoted = (text) => `"${safe(text).replace(/"/g, '""')}"`;
    return shownCells(table).map((cells) => cells.map(quoted).join(",") + "\r\n").join("");
  }

  function prepareTable(table) {
    const box = table.closest(".scroll");
    const copies = [
      copyButton("Copy as Markdown", () => asMarkdown(table)),
      copyButton("Copy as CSV", () => asCsv(table)),
    ];
    if (table.classList.contains("sortable")) {
      box.before(make("div", { className: "tools" }, ...prepareSorting(table)));
    }
    box.after(make("div", { className: "tools" }, ...copies));
  }

  // --- Galleries ---------------------------------------------------------------------------------

  const dialog = document.getElementById("view");

  function open(tile) {
    const image = dialog.querySelector("img");
    const small = tile.querySelector("img");
    image.src = small.src;
    image.alt = small.alt;
    dialog.querySelector("b").textContent = tile.dataset.file;
    dialog.querySelector("p").textContent = texts(tile.querySelector("span"));
    dialog.tile = tile;
    if (!dialog.open) dialog.showModal();
  }

  function step(by) {
    const tiles = all("li", dialog.tile.parentElement).filter((each) => !each.hidden);
    open(tiles[(tiles.indexOf(dialog.tile) + by + tiles.length) % tiles.length]);
  }

  // Write the text of the chosen seed into a line; return whether the seed shows the element.
  function followSeed(element, line) {
    if (!element.dataset.seeds) return true;
    const ofSeed = JSON.parse(element.dataset.seeds)[chosen.seed];
    element.dataset.mean ??= line.textContent;
    line.textContent = ofSeed ?? element.dataset.mean;
    return chosen.seed === "mean" || ofSeed !== undefined;
  }

  function prepareGallery(gallery) {
    const tiles = all("li", gallery);
    const tools = gallery.querySelector(".tools");
    const count = make("span", { className: "quiet" });
    const wanted = {};
    const note = gallery.querySelector(".note");
    const filter = () => {
      if (note) followSeed(note, note);
      const ofSeed = tiles.filter((tile) => followSeed(tile, tile.querySelector("i")));
      tiles.forEach((tile) => {
        const differs = Object.entries(wanted).some(([key, value]) => value && tile.dataset[key] !== value);
        tile.hidden = differs || !ofSeed.includes(tile);
      });
      count.textContent = `${tiles.filter((tile) => !tile.hidden).length} of ${ofSeed.length} images`;
    };
    for (const { key, name, values } of json(gallery.querySelector("script"))) {
      const options = [["", "all"], ...values.map((value) => [value, value])];
      tools.append(select(name, options, (value) => ((wanted[key] = value), filter())));
    }
    const names = () => tiles.filter((tile) => !tile.hidden).map((tile) => tile.dataset.file + "\n").join("");
    tools.append(count, copyButton("Copy file names", names));
    tiles.forEach((tile) => tile.querySelector("button").addEventListener("click", () => open(tile)));
    filters.push(filter);
    filter();
  }

  function prepareDialog() {
    if (!dialog) return;
    all("button", dialog).forEach((button) =>
      button.addEventListener("click", () => (button.dataset.step ? step(+button.dataset.step) : dialog.close())),
    );
    dialog.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") step(-1);
      if (key === "ArrowRight") step(1);
    });
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  }

  all("table.tool").forEach(prepareTable);
  all(".gallery-box").forEach(prepareGallery);
  prepareDialog();
  prepareSwitch();
  Promise.resolve(prepareCharts()).then(() => root.classList.add("ready"));
})();
