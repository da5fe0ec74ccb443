"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const {plots, galleries, items} = read("data");
const thumbnails = read("thumbnails");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => element("option", {value, textContent: text})));
}

for (const part of all(".scripted")) part.hidden = false;

// Plots: drawn when they come into view --------------------------------------------------------------------------

const narrow = () => window.innerWidth < 600;

function legendOf(plot, kind, width) {
  if (kind === "map" && !narrow()) return {rows: 0, legend: {x: 1.01, y: 1}};
  const names = plot.data.map((trace) => trace.name ?? "");
  const columns = Math.max(1, Math.floor((width - 80) / (50 + 7 * Math.max(...names.map((name) => name.length)))));
  return {rows: Math.ceil(names.length / columns), legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", maxheight: 2000}};
}

function layoutOf(plot, kind, width) {
  const axis = {automargin: true, gridcolor: "#e5e8ec", zeroline: false, linecolor: "#b9c3cc"};
  const {rows, legend} = legendOf(plot, kind, width);
  const height = kind === "heat" ? Math.max(440, 130 + 17 * plot.data[0].y.length) : kind === "map" ? 540 : 340;
  return {
    ...plot.layout,
    xaxis: {...axis, ...plot.layout.xaxis},
    yaxis: {...axis, ...plot.layout.yaxis},
    legend: {...legend, ...plot.layout.legend},
    showlegend: kind !== "heat",
    margin: {l: 56, r: 16, t: 24, b: 40},
    font: {family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12, color: "#1c2733"},
    height: height + (kind === "heat" ? 0 : 19 * rows),
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    hovermode: "closest",
  };
}

async function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  const kind = canvas.classList[1];
  const plot = plots[figure.dataset.plot];
  if (kind === "heat" && narrow()) delete plot.data[0].texttemplate;
  const layout = layoutOf(plot, kind, canvas.clientWidth);
  canvas.replaceChildren();
  canvas.style.height = `${layout.height}px`;
  await Plotly.newPlot(canvas, plot.data, layout, {
    responsive: true,
    displaylogo: false,
    displayModeBar: narrow() ? false : "hover",
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
  });
  if (kind === "map") showItemsOnHover(canvas, figure.closest(".panel").dataset.protocol);
  figure.dataset.drawn = "yes";
}

const onView = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (isIntersecting) {
      onView.unobserve(target);
      draw(target);
    }
  }
}, {rootMargin: "400px"});
for (const figure of all("figure.plot")) onView.observe(figure);

// Items ------------------------------------------------------------------------------------------------------------

function picture(data, number, className = "") {
  for (const [modality, column] of Object.entries(thumbnails[data] ?? {})) {
    if (column[number]) {
      const alt = `${modality} of ${items[data].ids[number]}, ${classesOf(data, number)}`;
      return element("img", {src: `data:image/webp;base64,${column[number]}`, alt, className, loading: "lazy"});
    }
  }
  return null;
}

const classesOf = (data, number) => items[data].labels[number].map((label) => items[data].classes[label]).join(", ");

function textOf(data, number) {
  const texts = Object.values(items[data].texts).map((column) => column[number]).filter(Boolean);
  return texts.join(" · ") || items[data].ids[number];
}

function content(data, number, modality) {
  const text = items[data].texts[modality]?.[number];
  if (text) return element("div", {className: "snippet", textContent: text, title: text});
  const isPicture = modality in (thumbnails[data] ?? {});
  return (isPicture && picture(data, number)) || element("div", {className: "snippet", textContent: items[data].ids[number]});
}

function showItemsOnHover(canvas, protocol) {
  const card = byId("card");
  const data = galleries[protocol].data;
  canvas.on("plotly_hover", ({points, event}) => {
    const number = points[0].customdata;
    card.replaceChildren(
      ...[picture(data, number), element("strong", {textContent: points[0].data.name.split(", ").pop()}),
        element("div", {textContent: textOf(data, number)}), element("div", {className: "note", textContent: classesOf(data, number)})].filter(Boolean));
    card.hidden = false;
    card.style.left = `${Math.min(event.clientX + 14, window.innerWidth - card.offsetWidth - 8)}px`;
    card.style.top = `${Math.min(event.clientY + 14, window.innerHeight - card.offsetHeight - 8)}px`;
  });
  canvas.on("plotly_unhover", () => { card.hidden = true; });
}

// Protocol and method choices ----------------------------------------------------------------------------------------

const protocol = byId("protocol");
protocol.parentElement.hidden = protocol.options.length < 2;

function chooseProtocol() {
  for (const panel of all(".panel")) panel.hidden = panel.dataset.protocol !== protocol.value;
  browse.open(protocol.value);
}

for (const select of all("select.method")) {
  const choose = () => {
    for (const figure of all("figure.plot", select.closest(".panel"))) figure.hidden = (figure.dataset.method ?? select.value) !== select.value;
  };
  select.addEventListener("change", choose);
  choose();
}

// The headline table ---------------------------------------------------------------------------------------------------

const FILTERS = {dataset: "Data set", split: "Split", inputs: "Inputs", metric: "Metric", experiment: "Experiment", kind: "Rows"};

async function sortable() {
  const address = URL.createObjectURL(new Blob([read("datatables")], {type: "text/javascript"}));
  const {default: DataTable} = await import(address);
  URL.revokeObjectURL(address);
  const rows = all("#headline tbody tr");
  const table = new DataTable("#headline", {paging: false, info: false, order: [], autoWidth: false, language: {search: "Search"}});
  const chosen = {};
  for (const [key, name] of Object.entries(FILTERS)) {
    const values = [...new Set(rows.map((row) => row.dataset[key]).filter(Boolean))];
    if (values.length < 2) continue;
    const select = element("select", {id: `filter-${key}`});
    fill(select, [["", "all"], ...values.map((value) => [value, value])]);
    if (key === "metric" || (narrow() && ["dataset", "split", "inputs"].includes(key))) select.value = values[0];
    chosen[key] = select;
    select.addEventListener("change", () => table.draw());
    document.querySelector(".filters").append(element("label", {}, name, select));
  }
  table.search.fixed("filters", (text, cells, index) => {
    const row = table.row(index).node().dataset;
    return Object.entries(chosen).every(([key, select]) => !select.value || row[key] === select.value || (key === "experiment" && row.kind !== "measured"));
  });
  const columns = all("#headline thead th").map((cell) => cell.textContent.trim());
  const hideConstant = () => {
    const shown = table.rows({search: "applied"}).nodes().toArray();
    for (const [key, name] of Object.entries(FILTERS)) {
      if (!columns.includes(name)) continue;
      const values = new Set(shown.map((row) => row.dataset[key]).filter(Boolean));
      table.column(columns.indexOf(name)).visible(values.size > 1);
    }
  };
  table.on("draw", hideConstant);
  table.draw();
  byId("headline").dataset.ready = "yes";
}

// The gallery ------------------------------------------------------------------------------------------------------------

const browse = {
  PAGE: 24,

  open(key) {
    this.gallery = galleries[key];
    this.data = this.gallery.data;
    fill(byId("direction"), this.gallery.directions.map(({query, gallery}, index) => [index, `${query} → ${gallery}`]));
    fill(byId("class"), [["", "all"], ...items[this.data].classes.map((name, index) => [index, name])]);
    this.list();
  },

  list() {
    const wanted = byId("class").value;
    this.direction = this.gallery.directions[byId("direction").value];
    this.rows = this.direction.queries.map((number, row) => row)
      .filter((row) => wanted === "" || items[this.data].labels[this.direction.queries[row]].includes(Number(wanted)));
    if (byId("order").value === "best") this.rows.reverse();
    if (byId("order").value === "mixed") this.rows = this.spread(this.rows);
    this.turn(0);
    if (this.rows.length) this.show(this.rows[0]);
    else byId("retrieved").replaceChildren(element("p", {textContent: "No test query of this class."}));
  },

  spread(rows) {
    const stride = Math.ceil(rows.length / this.PAGE);
    return rows.map((row, place) => [place % stride, row]).sort(([a], [b]) => a - b).map(([, row]) => row);
  },

  turn(start) {
    this.start = start;
    const {queries, query} = this.direction;
    byId("queries").replaceChildren(...this.rows.slice(start, start + this.PAGE).map((row) => {
      const number = queries[row];
      const mean = this.direction.scores.reduce((sum, scores) => sum + scores[row], 0) / this.gallery.methods.length;
      const button = element("button", {type: "button", ariaPressed: "false", onclick: () => this.show(row)},
        content(this.data, number, query), element("span", {className: "score", textContent: `${classesOf(this.data, number)} · ${mean.toFixed(2)}`}));
      button.dataset.row = row;
      return element("li", {}, button);
    }));
    const end = Math.min(start + this.PAGE, this.rows.length);
    const thinned = queries.length < this.direction.of ? `, evenly chosen from ${this.direction.of}` : "";
    byId("page").textContent = this.rows.length ? `${start + 1} to ${end} of ${this.rows.length} queries${thinned}` : "";
    byId("previous").disabled = start === 0;
    byId("next").disabled = end >= this.rows.length;
  },

  show(row) {
    for (const button of all("#queries button")) button.ariaPressed = String(Number(button.dataset.row) === row);
    const {queries, query} = this.direction;
    const number = queries[row];
    const head = element("div", {className: "query"}, content(this.data, number, query),
      element("p", {}, element("strong", {textContent: `Query ${query}`}), ` ${items[this.data].ids[number]} · ${classesOf(this.data, number)}`));
    byId("retrieved").replaceChildren(head, ...this.gallery.methods.map((name, method) => this.results(name, method, row)));
  },

  results(name, method, row) {
    const {top, scores, gallery, queries} = this.direction;
    const {labels, groups} = items[this.data];
    const wanted = new Set(labels[queries[row]]);
    const isHit = this.gallery.by === "instance"
      ? (number) => groups[number] === groups[queries[row]]
      : (number) => labels[number].some((label) => wanted.has(label));
    const found = top[method][row];
    const title = element("h4", {textContent: `${name} `},
      element("span", {textContent: `${found.filter(isHit).length} of ${found.length} hits · ${this.gallery.metric} ${scores[method][row].toFixed(3)}`}));
    const cards = found.map((number, rank) => {
      const hit = isHit(number);
      const isText = Boolean(items[this.data].texts[gallery]?.[number]);
      return element("li", {className: hit ? "hit" : "miss"},
        element("div", {className: "verdict", textContent: hit ? "✓ hit" : "✗ miss"}, element("span", {textContent: rank + 1})),
        content(this.data, number, gallery),
        isText ? picture(this.data, number, "pair") : null,
        element("div", {className: "class", textContent: classesOf(this.data, number)}));
    });
    return element("div", {className: "method-row"}, title, element("ol", {className: "cards", tabIndex: 0, ariaLabel: `First results of ${name}`}, ...cards));
  },
};

for (const id of ["direction", "order", "class"]) byId(id).addEventListener("change", () => browse.list());
byId("previous").addEventListener("click", () => browse.turn(browse.start - browse.PAGE));
byId("next").addEventListener("click", () => browse.turn(browse.start + browse.PAGE));
protocol.addEventListener("change", chooseProtocol);
chooseProtocol();
sortable();
