"use strict";
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function make(tag, text, attributes = {}) {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  const runLink = (run) => make("a", run, { href: "../runs/" + encodeURIComponent(run) + "/" });

  // What was chosen stays when a running study's page is loaded anew.
  const KEY = "report " + location.pathname;
  function remembered() {
    try { return JSON.parse(sessionStorage.getItem(KEY)) || {}; } catch { return {}; }
  }
  function remember(values) {
    try { sessionStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...values })); } catch { /* no storage */ }
  }

  // What is shown stands in the address, so that a view can be sent: #method=pat&setting=tuned&cells=method:pat
  const hash = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  function address(values) {
    const now = hash();
    for (const [name, value] of Object.entries(values)) if (value) now.set(name, value); else now.delete(name);
    try { history.replaceState(null, "", "#" + now); } catch { /* not from a file of this browser */ }
  }

  // The matrix: one panel at a time, details of the cell that is pointed at, focused or held.
  function matrix() {
    const details = JSON.parse(one("#cells").textContent);
    const panels = all(".panel"), aside = one("#detail"), chosen = {};
    let held = null;

    function show(index) {
      const cell = details[index];
      aside.replaceChildren(make("h3", cell.title), make("p", cell.what, { class: "note" }));
      const list = make("dl");
      for (const [name, value] of cell.lines) list.append(make("dt", name), make("dd", value));
      aside.append(list);
      if (!cell.runs.length) return;
      aside.append(make("b", "runs"));
      const runs = make("ul");
      for (const run of cell.runs) {
        const line = make("li", "seed " + run.seed + ": ");
        line.append(run.run ? runLink(run.run) : run.state);
        if (run.run && run.state !== "finished") line.append(" (" + run.state + ")");
        if (run.scratch) line.append(", scratch ", runLink(run.scratch));
        runs.append(line);
      }
      aside.append(runs);
    }

    function hold(button) {
      if (held) held.classList.remove("held");
      held = button === held ? null : button;
      if (held) held.classList.add("held");
    }

    function choose(group, value) {
      const buttons = all("button", group);
      if (!buttons.some((button) => button.dataset.value === value)) value = buttons[0].dataset.value;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
      return value;
    }

    function update(values, told) {
      Object.assign(chosen, values);
      if (told) address(values);
      chosen.method = choose(one("#choose-method"), chosen.method);
      chosen.setting = choose(one("#choose-setting"), chosen.setting);
      for (const panel of panels)
        panel.hidden = panel.dataset.method !== chosen.method || (panel.dataset.setting || chosen.setting) !== chosen.setting;
      if (held) hold(held);
      remember(chosen);
    }

    one("#choose-method").addEventListener("click", (event) => {
      if (event.target.dataset.value) update({ method: event.target.dataset.value }, true);
    });
    one("#choose-setting").addEventListener("click", (event) => {
      if (event.target.dataset.value) update({ setting: event.target.dataset.value }, true);
    });
    for (const panel of panels) {
      const cells = all(".cell", panel);
      cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
      panel.addEventListener("pointerover", (event) => {
        const cell = event.target.closest(".cell");
        if (cell && !held) show(cell.dataset.cell);
      });
      panel.addEventListener("focusin", (event) => {
        if (!event.target.matches(".cell")) return;
        for (const cell of cells) cell.tabIndex = cell === event.target ? 0 : -1;
        if (!held) show(event.target.dataset.cell);
      });
      panel.addEventListener("click", (event) => {
        const cell = event.target.closest(".cell");
        if (!cell) return;
        hold(cell);
        show(cell.dataset.cell);
        if (held) aside.scrollIntoView({ block: "nearest" });
      });
      panel.addEventListener("keydown", (event) => move(event, panel));
    }
    document.addEventListener("keydown", (event) => { if (event.key === "Escape" && held) hold(held); });
    const asked = hash();
    update({ method: asked.get("method") || remembered().method, setting: asked.get("setting") || remembered().setting });
    const start = one(".panel:not([hidden]) .cell");
    if (start) show(start.dataset.cell);
  }

  // Arrow keys go to the next cell in that direction, over those that are not in the study.
  function move(event, panel) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || !event.target.matches(".cell")) return;
    event.preventDefault();
    const rows = all("tbody tr", panel).map((row) => all("td", row));
    let y = rows.findIndex((row) => row.includes(event.target.parentElement));
    let x = rows[y].indexOf(event.target.parentElement);
    for (;;) {
      y += step[0];
      x += step[1];
      const next = rows[y] && rows[y][x];
      if (!next) return;
      const cell = one(".cell", next);
      if (cell) { cell.focus(); return; }
    }
  }

  // Tables: columns of values, shown in pages, sorted by a click on the header, missing values always last.
  const PAGE = 100;
  const collator = new Intl.Collator("en", { numeric: true });
  const NUMBERS = new Set(["int", "points", "p", "number"]);

  function shown(value, kind) {
    if (value === null) return "";
    if (kind === "points") return value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");
    if (kind === "p") return value < 0.0001 ? "< 0.0001" : value.toFixed(4);
    if (kind === "number") return String(Number(value.toPrecision(5))).replace("-", "−");
    if (kind === "int") return String(value).replace("-", "−");
    return value;
  }

  function order(rows, column, direction) {
    const values = column.values;
    const compare = NUMBERS.has(column.kind) ? (a, b) => a - b : collator.compare;
    const known = rows.filter((row) => values[row] !== null), missing = rows.filter((row) => values[row] === null);
    known.sort((a, b) => direction * compare(values[a], values[b]) || a - b);
    return known.concat(missing);
  }

  function table(section) {
    const data = JSON.parse(one(".data", section).textContent), grid = one(".grid", section);
    const columns = data.columns.map((column) => ({
      ...column,
      values: column.w ? column.v.map((place) => (place < 0 ? null : column.w[place])) : column.v,
      visible: !column.hidden,
    }));
    const every = Array.from({ length: data.rows }, (_, row) => row);
    let found = every, sorted = null, direction = 0, first = 0, texts = null, head = new Map();

    const tools = make("div", null, { class: "tools" });
    const filter = make("input", null, { type: "search", placeholder: "words, or method:pat", "aria-label": "Filter rows of " + data.name });
    const back = make("button", "‹ back", { type: "button" }), on = make("button", "on ›", { type: "button" });
    const place = make("span", "", { "aria-live": "polite", class: "place" });
    const holder = make("div", null, { class: "rows", tabindex: "0", role: "region", "aria-label": data.name });
    const sheet = make("table"), body = make("tbody");

    // Whole words of any column, and column:word, which is a part of its text; pat is not in vit_patch16, pat:… never.
    function search() {
      const parts = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const tests = parts.map((part) => {
        const [name, word] = part.includes(":") ? part.split(/:(.*)/) : ["", part];
        const column = columns.find((c) => c.name.toLowerCase() === name);
        if (column) return (row) => shown(column.values[row], column.kind).toLowerCase().includes(word);
        texts ??= every.map((row) => new Set(columns.filter((c) => c.kind === "text" || c.kind === "run" || c.kind === "int")
          .flatMap((c) => { const text = String(c.values[row] ?? "").toLowerCase(); return [text, ...text.split(/[^\p{L}\p{N}]+/u)]; })));
        return (row) => texts[row].has(part);
      });
      return tests.length ? every.filter((row) => tests.every((test) => test(row))) : every;
    }

    function refresh() {
      found = search();
      if (sorted) found = order(found, sorted, direction);
      first = 0;
      draw();
    }

    function headers() {
      const line = make("tr");
      head = new Map();
      for (const column of columns.filter((c) => c.visible)) {
        const cell = make("th", null, { scope: "col" }), button = make("button", column.name, { type: "button" });
        if (column.about) button.title = column.about;
        if (NUMBERS.has(column.kind)) cell.className = "num";
        if (column === sorted) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        button.addEventListener("click", () => {
          direction = column === sorted ? { 1: -1, "-1": 0 }[direction] : 1;
          sorted = direction ? column : null;
          refresh();
          headers();
          head.get(column).focus();
        });
        head.set(column, button);
        cell.append(button);
        line.append(cell);
      }
      const top = make("thead");
      top.append(line);
      sheet.replaceChildren(top, body);
    }

    function draw() {
      const visible = columns.filter((c) => c.visible);
      body.replaceChildren(...found.slice(first, first + PAGE).map((row) => {
        const line = make("tr");
        for (const column of visible) {
          const value = column.values[row], text = shown(value, column.kind);
          const cell = make("td");
          if (column.kind === "run" && value) cell.append(runLink(value)); else cell.textContent = text;
          if (NUMBERS.has(column.kind)) cell.className = "num";
          else if (text.length > 40) { cell.className = "long"; cell.title = text; }
          line.append(cell);
        }
        return line;
      }));
      const last = Math.min(first + PAGE, found.length);
      const range = found.length ? (first + 1) + " to " + last + " of " + found.length.toLocaleString("en") + " rows" : "no rows";
      place.textContent = range + (found.length < data.rows ? " (of " + data.rows.toLocaleString("en") + ")" : "");
      back.disabled = first === 0;
      on.disabled = last >= found.length;
      back.hidden = on.hidden = found.length <= PAGE;
      holder.scrollTop = 0;
    }

    let waiting = 0;
    filter.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { address({ [data.name]: filter.value }); refresh(); }, 120);
    });
    back.addEventListener("click", () => { first -= PAGE; draw(); });
    on.addEventListener("click", () => { first += PAGE; draw(); });

    const choice = make("details"), list = make("div", null, { class: "columns" });
    const hidden = columns.filter((c) => c.hidden).length;
    choice.append(make("summary", "columns and what they mean" + (hidden ? " (" + hidden + " not shown)" : "")), list);
    for (const column of columns) {
      const label = make("label"), box = make("input", null, { type: "checkbox" }), words = make("span", column.name);
      box.checked = column.visible;
      box.addEventListener("change", () => { column.visible = box.checked; headers(); draw(); });
      if (column.about) words.append(" ", make("small", column.about));
      label.append(box, words);
      list.append(label);
    }
    body.addEventListener("click", (event) => {
      if (event.target.matches("td.long") && !getSelection().toString()) event.target.classList.toggle("whole");
    });

    tools.append(filter, place, back, on, choice);
    holder.append(sheet);
    sheet.append(body);
    grid.replaceChildren(tools, holder);
    headers();
    filter.value = hash().get(data.name) || "";
    refresh();
  }

  function copy() {
    const button = one("#copy"), text = one("#command");
    if (!button) return;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch {
        getSelection().selectAllChildren(text);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  function refreshed() {
    const line = one("#refreshed");
    if (!line) return;
    line.textContent = "Refreshed every " + line.dataset.every + " s; last at " + document.lastModified + ".";
    if (remembered().scroll) scrollTo(0, remembered().scroll);
    addEventListener("pagehide", () => remember({ scroll: scrollY }));
  }

  matrix();
  for (const section of all("[data-table]")) if (one(".data", section)) table(section);
  copy();
  refreshed();
})();
