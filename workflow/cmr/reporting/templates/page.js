"use strict";

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

/** Chooses what an address names, where it is offered; else what is offered first, or another place of the list. */
function setTo(list, wanted, place = 0) {
  const offered = [...list.options].map((option) => option.value);
  list.value = offered.includes(wanted) ? wanted : offered[Math.min(place, offered.length - 1)];
}

/** As plotly reads markup in texts. */
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A name that leaves room beside it, broken between words. */
function linesOf(text) {
  const letters = narrow() ? 22 : 70;
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && longer.length <= letters) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** As one word of a shell, whatever is in it. */
const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

const narrow = () => window.innerWidth < 600;
const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

for (const part of all(".scripted")) part.hidden = false;

// Parts: what the page reads, in it or in a file beside it ------------------------------------------------------------

const parts = new Map(); // a data set may have the name of a property that all objects have
const waiting = new Map();

function receive(key, value) {
  waiting.get(key)(value);
}

function part(key) {
  if (!parts.has(key)) {
    const place = all("script[data-part]").find((script) => script.dataset.part === key);
    parts.set(key, place.dataset.file
      ? new Promise((resolve, reject) => {
        waiting.set(key, resolve);
        document.head.append(element("script", {src: place.dataset.file, onerror: () => reject(new Error(place.dataset.file))}));
      })
      : Promise.resolve(JSON.parse(place.textContent)));
  }
  return parts.get(key);
}

// One selection for the whole page, in the address: #section?protocol=…&methods=…&query=… ------------------------------

const LISTS = ["methods"];
const state = {};

function readAddress() {
  const [section, query] = location.hash.slice(1).split("?");
  for (const key of Object.keys(state)) delete state[key];
  for (const [key, value] of new URLSearchParams(query ?? "")) state[key] = LISTS.includes(key) ? value.split("|") : value;
  return section;
}

function choose(changes, section) {
  Object.assign(state, changes);
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value !== undefined && value !== "") query.set(key, LISTS.includes(key) ? value.join("|") : value);
  }
  const where = section ?? location.hash.slice(1).split("?")[0];
  history.replaceState(null, "", `#${where}${query.size ? `?${query}` : ""}`);
}

for (const link of all("nav .links a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const section = link.hash.slice(1);
    choose({}, section);
    byId(section).scrollIntoView();
  });
}

// The chosen protocol ----------------------------------------------------------------------------------------------------

const protocol = byId("protocol");
protocol.parentElement.hidden = protocol.options.length < 2;
let now = null; // the parts of the chosen protocol and of its data set

async function open() {
  setTo(protocol, state.protocol);
  for (const panel of all(".panel")) panel.hidden = panel.dataset.protocol !== protocol.value;
  for (const answer of all(".answer")) answer.classList.toggle("chosen", answer.dataset.protocol === protocol.value);
  const key = protocol.value;
  const own = await part(key);
  const items = await part(own.data);
  if (key !== protocol.value) return; // another was chosen meanwhile
  now = {...own, items};
  reserve(own.plots);
  document.body.dataset.protocol = key;
  offerMethods();
  for (const select of all("select.direction")) fill(select, now.gallery.directions.map((d) => [`${d.query}→${d.gallery}`, `${d.query} → ${d.gallery}`]));
  fill(byId("class"), [["", "all"], ...items.classes.map((name, index) => [index, name])]);
  for (const id of ["a", "b"]) fill(byId(id), now.versus.methods.map((name) => [name, name]));
  refresh();
}

/** Sets all controls as the selection has them, and shows what they choose. */
function refresh() {
  for (const list of all("select.direction")) setTo(list, state.direction);
  setTo(byId("a"), state.a);
  setTo(byId("b"), state.b, 1);
  setTo(byId("order"), state.order);
  setTo(byId("class"), state.class);
  for (const list of all("select.method")) {
    setTo(list, state.method, list.selectedIndex);
    showMethod(list);
  }
  compare.show();
  browse.list();
}

protocol.addEventListener("change", () => {
  choose({protocol: protocol.value, direction: undefined, query: undefined, class: undefined});
  open();
  filterTable();
});

// Methods ---------------------------------------------------------------------------------------------------------------

const FEW = 8; // as plots show without a choice
const chosenMethods = () => {
  const names = now.gallery.methods;
  const found = (state.methods ?? []).filter((name) => names.includes(name));
  return found.length ? found : names.slice(0, FEW);
};

function offerMethods() {
  const chosen = chosenMethods();
  byId("methods").querySelector("div").replaceChildren(...now.gallery.methods.map((name) =>
    element("label", {}, element("input", {type: "checkbox", value: name, checked: chosen.includes(name), onchange: tickMethods}), name)));
  sayMethods();
}

function sayMethods() {
  byId("methods").querySelector("summary").textContent = `Methods: ${chosenMethods().length} of ${now.gallery.methods.length}`;
}

function tickMethods() {
  choose({methods: all("#methods input:checked").map((box) => box.value)});
  sayMethods();
  for (const figure of all(".panel:not([hidden]) figure.lines[data-drawn]")) draw(figure);
  browse.list();
}

function showMethod(select) {
  for (const figure of all("figure.plot", select.closest(".panel"))) figure.hidden = (figure.dataset.method ?? select.value) !== select.value;
}

for (const select of all("select.method")) {
  select.addEventListener("change", () => {
    choose({method: select.value});
    refresh();
  });
  showMethod(select);
}

// Plots: drawn when they come into view --------------------------------------------------------------------------

function legendOf(plot, kind, width) {
  if (kind === "map" && !narrow()) return {rows: 0, legend: {x: 1.01, y: 1}};
  const names = plot.data.filter((trace) => trace.visible !== false).map((trace) => trace.name ?? "");
  const columns = Math.max(1, Math.floor((width - 80) / (60 + 7 * Math.max(...names.map((name) => name.length)))));
  return {rows: Math.ceil(names.length / columns), legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", maxheight: 2000}};
}

const HEIGHTS = {
  heat: (plot) => Math.max(440, 130 + 17 * plot.data[0].y.length),
  map: () => 540,
  intervals: ({layout: {yaxis: {ticktext}}}) => 110 + (7 + 15 * Math.max(...ticktext.map((name) => linesOf(name).length))) * ticktext.length,
};

/** An axis whose names have room: of methods at the side, and its own. */
function fitting({title, ticktext, ...axis}) {
  const broken = (text) => linesOf(text).join("<br>");
  return {...axis, title: {...title, text: broken(title.text)}, ...(ticktext && {ticktext: ticktext.map(broken)})};
}

function layoutOf(plot, kind, width) {
  const axis = {automargin: true, gridcolor: shade("grid"), zeroline: false, linecolor: shade("edge")};
  const {rows, legend} = legendOf(plot, kind, width);
  const height = HEIGHTS[kind]?.(plot) ?? 340;
  return {
    ...plot.layout,
    xaxis: {...axis, ...fitting(plot.layout.xaxis)},
    yaxis: {...axis, ...fitting(plot.layout.yaxis)},
    legend: {...legend, ...plot.layout.legend},
    showlegend: kind !== "heat",
    margin: {l: 56, r: 16, t: 24, b: 40},
    font: {family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12, color: shade("ink")},
    height: height + (kind === "heat" ? 0 : 19 * rows),
    paper_bgcolor: shade("paper"),
    plot_bgcolor: shade("paper"),
    hovermode: "closest",
  };
}

const SETTINGS = () => ({
  responsive: true,
  displaylogo: false,
  displayModeBar: narrow() ? false : "hover",
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
});

/** Curves of the methods that were chosen; without a choice, of those that the plot shows itself. */
function withChosen(plot) {
  if (!state.methods) return plot.data;
  const [methods, chosen] = [now.gallery.methods, chosenMethods()].map((names) => names.map(plain));
  return plot.data.map((trace) => (methods.includes(trace.name) ? {...trace, visible: chosen.includes(trace.name)} : trace));
}

async function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  const kind = canvas.classList[1];
  const key = figure.closest(".panel").dataset.protocol;
  const {plots} = await part(key);
  const plot = plots[figure.dataset.plot];
  if (kind === "heat" && narrow()) plot.data.length = 1; // no room for numbers in its cells
  const data = kind === "lines" && now ? withChosen(plot) : plot.data;
  const layout = layoutOf({...plot, data}, kind, canvas.clientWidth);
  canvas.style.height = `${layout.height}px`;
  await Plotly.react(canvas, data, layout, SETTINGS());
  if (kind === "map" && !figure.dataset.drawn) showItemsOnHover(canvas);
  figure.dataset.drawn = "yes";
}

/** Gives each plot its height before it is drawn, so that nothing moves while one reads. */
function reserve(plots) {
  for (const figure of all(".panel:not([hidden]) figure.plot[data-plot]:not([data-drawn])")) {
    const canvas = figure.querySelector(".canvas");
    const plot = plots[figure.dataset.plot];
    if (plot) canvas.style.height = `${layoutOf(plot, canvas.classList[1], canvas.clientWidth || 500).height}px`;
  }
}

const onView = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (isIntersecting) {
      onView.unobserve(target);
      draw(target);
    }
  }
}, {rootMargin: "400px"});
for (const figure of all("figure.plot[data-plot]")) onView.observe(figure);

const darkness = matchMedia("(prefers-color-scheme: dark)");
const followDarkness = () => document.documentElement.classList.toggle("dark", darkness.matches); // as DataTables asks
followDarkness();
darkness.addEventListener("change", () => {
  followDarkness();
  for (const figure of all("figure.plot[data-drawn]")) draw(figure);
  if (now) compare.show();
});

// Items ------------------------------------------------------------------------------------------------------------

function picture(number, className = "") {
  for (const [modality, column] of Object.entries(now.items.thumbnails)) {
    if (column[number]) {
      const alt = `${modality} of ${now.items.ids[number]}, ${classesOf(number)}`;
      return element("img", {src: `data:image/webp;base64,${column[number]}`, alt, className, loading: "lazy"});
    }
  }
  return null;
}

const classesOf = (number) => now.items.labels[number].map((label) => now.items.classes[label]).join(", ");

function textOf(number) {
  const texts = Object.values(now.items.texts).map((column) => column[number]).filter(Boolean);
  return texts.join(" · ") || now.items.ids[number];
}

function content(number, modality) {
  const text = now.items.texts[modality]?.[number];
  if (text) return element("div", {className: "snippet", textContent: text, title: text});
  const isPicture = Object.hasOwn(now.items.thumbnails, modality);
  return (isPicture && picture(number)) || element("div", {className: "snippet", textContent: now.items.ids[number]});
}

function showCard(number, name, event) {
  const card = byId("card");
  card.replaceChildren(
    ...[picture(number), element("strong", {textContent: name}),
      element("div", {textContent: textOf(number)}), element("div", {className: "note", textContent: classesOf(number)})].filter(Boolean));
  card.hidden = false;
  card.style.left = `${Math.min(event.clientX + 14, window.innerWidth - card.offsetWidth - 8)}px`;
  card.style.top = `${Math.min(event.clientY + 14, window.innerHeight - card.offsetHeight - 8)}px`;
}

function showItemsOnHover(canvas) {
  canvas.on("plotly_hover", ({points, event}) => {
    if (points[0].customdata !== undefined) showCard(points[0].customdata, points[0].data.name.split(", ").pop(), event);
  });
  canvas.on("plotly_unhover", () => { byId("card").hidden = true; });
}

// The headline table ---------------------------------------------------------------------------------------------------

const FILTERS = {metric: "Metric", experiment: "Experiment", kind: "Rows"};
const CONSTANT = {dataset: "Data set", split: "Split", inputs: "Inputs", metric: "Metric", experiment: "Experiment"};
let filterTable = () => {};

async function sortable() {
  const address = URL.createObjectURL(new Blob([JSON.parse(byId("datatables").textContent)], {type: "text/javascript"}));
  const {default: DataTable} = await import(address);
  URL.revokeObjectURL(address);
  const rows = all("#headline tbody tr");
  const columns = all("#headline thead th").map((cell) => cell.textContent.trim());
  const numbers = columns.map((name, index) => (Object.values(CONSTANT).includes(name) || name === "Method" ? -1 : index)).filter((index) => index >= 0);
  const figures = (sign) => (a, b) => (a === "") - (b === "") || sign * (a - b); // what there is none of comes last
  DataTable.type("figure", {className: "dt-type-numeric", order: {asc: figures(1), desc: figures(-1)}});
  const table = new DataTable("#headline", {
    paging: false, info: false, order: [], autoWidth: false, language: {search: "Search"},
    columnDefs: [{targets: numbers, type: "figure", orderSequence: ["desc", "asc"]}],
  });
  const everywhere = byId("all-protocols");
  everywhere.checked = state.all === "yes";
  everywhere.parentElement.hidden = protocol.options.length < 2;
  const chosen = {};
  for (const [key, name] of Object.entries(FILTERS)) {
    const values = [...new Set(rows.map((row) => row.dataset[key]).filter(Boolean))];
    if (values.length < 2) continue;
    const select = element("select", {id: `filter-${key}`});
    fill(select, [["", "all"], ...values.map((value) => [value, value])]);
    select.value = values.includes(state[key]) ? state[key] : key === "metric" && state[key] !== "all" ? values[0] : "";
    chosen[key] = select;
    select.addEventListener("change", () => {
      choose({[key]: select.value || "all"});
      filterTable();
    });
    document.querySelector(".filters").append(element("label", {}, name, select));
  }
  everywhere.addEventListener("change", () => {
    choose({all: everywhere.checked ? "yes" : undefined});
    filterTable();
  });
  table.search.fixed("filters", (text, cells, index) => {
    const row = table.row(index).node().dataset;
    const here = everywhere.checked || row.protocol === protocol.value;
    return here && Object.entries(chosen).every(([key, select]) => !select.value || row[key] === select.value || (key === "experiment" && row.kind !== "measured"));
  });
  table.on("draw", () => {
    const shown = table.rows({search: "applied"}).nodes().toArray();
    for (const [key, name] of Object.entries(CONSTANT)) {
      const values = new Set(shown.map((row) => row.dataset[key]).filter(Boolean));
      table.column(columns.indexOf(name)).visible(values.size > 1);
    }
  });
  for (const row of rows.filter((one) => one.dataset.kind === "measured")) {
    const name = row.querySelector("th").textContent.trim();
    const button = element("button", {type: "button", className: "unfold", ariaExpanded: "false", ariaLabel: `Details of ${name}`});
    row.querySelector("th").prepend(button);
    row.addEventListener("click", () => unfold(table.row(row), button));
  }
  filterTable = () => table.draw();
  filterTable();
  byId("headline").dataset.ready = "yes";
}

/** Below a row, what its cells have no room for: intervals and differences of each direction. */
function unfold(entry, button) {
  const shown = entry.child.isShown();
  button.ariaExpanded = String(!shown);
  if (shown) return entry.child.hide();
  const told = entry.cells(entry.index(), "*").nodes().toArray().filter((cell) => cell.dataset.direction);
  const terms = told.flatMap((cell) => [element("dt", {textContent: cell.dataset.direction}), element("dd", {textContent: cell.title})]);
  return entry.child(element("dl", {className: "beneath"}, ...terms)).show();
}

// Two methods against each other ---------------------------------------------------------------------------------------------

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
const MOST_DIFFERENT = 5;

/** Less than 0.05 never shows as 0.050. */
function pInWords(p) {
  if (p < 0.001) return "< 0.001";
  return p < 0.05 && Number(p.toPrecision(2)) >= 0.05 ? "< 0.05" : p.toPrecision(2);
}

const compare = {
  show() {
    const {methods, metric, directions} = now.versus;
    const place = byId("compare").querySelector("select.direction").selectedIndex;
    const [a, b] = [methods.indexOf(byId("a").value), methods.indexOf(byId("b").value)];
    const found = directions[place];
    byId("compare").hidden = methods.length < 2;
    if (methods.length < 2) return;
    if (a === b) {
      byId("versus").replaceChildren(element("p", {textContent: "Choose two methods."}));
      byId("extremes").replaceChildren();
      return;
    }
    byId("versus").replaceChildren(this.table(found, a, b, metric), this.classes(found, a, b), this.command(a, b, metric));
    this.scatter(found, a, b);
    this.extremes(found, a, b);
  },

  /** What is known of a pair, as A less B. */
  pair(found, a, b) {
    const [first, second] = [Math.min(a, b), Math.max(a, b)];
    const n = now.versus.methods.length;
    const pair = found.pairs[first * n - (first * (first + 1)) / 2 + second - first - 1];
    if (a < b) return pair;
    return {...pair, difference: -pair.difference, ci95: pair.ci95 && [-pair.ci95[1], -pair.ci95[0]], better: [...pair.better].reverse()};
  },

  table(found, a, b, metric) {
    const {methods} = now.versus;
    const {difference, ci95, p, covers, better} = this.pair(found, a, b);
    const queries = found.known;
    const told = {
      [`A: ${methods[a]}`]: found.means[a].toFixed(3),
      [`B: ${methods[b]}`]: found.means[b].toFixed(3),
      "A − B": signed(difference),
      "95 % interval": ci95 ? `${signed(ci95[0])} to ${signed(ci95[1])}` : "–",
      "p, of these two alone": p === null ? "–" : pInWords(p),
      "Interval and p cover": covers ?? "–",
      "A better, equal, B better": `${better[0]}, ${queries - better[0] - better[1]}, ${better[1]} of ${queries} queries`,
    };
    const table = element("table", {className: "plain"}, element("caption", {textContent: metric}), element("tbody", {},
      ...Object.entries(told).map(([name, value]) => element("tr", {}, element("th", {scope: "row", textContent: name}), element("td", {className: "number", textContent: value})))));
    return element("div", {className: "wide", tabIndex: 0, role: "region", ariaLabel: "A and B"}, table);
  },

  classes(found, a, b) {
    const names = now.items.classes;
    if (!found.counts.length) return null;
    const gaps = names.map((name, place) => [name, found.classes[a][place] - found.classes[b][place], found.counts[place]])
      .filter(([, , count]) => count).sort(([, first], [, second]) => second - first);
    const rows = gaps.map(([name, gap, count]) => element("tr", {}, element("th", {scope: "row", textContent: name}), element("td", {className: "number", textContent: signed(gap)}), element("td", {className: "number", textContent: count})));
    const head = element("thead", {}, element("tr", {}, ...["Class of the query", "A − B", "Queries"].map((name) => element("th", {scope: "col", textContent: name}))));
    return element("details", {}, element("summary", {textContent: "By class"}), element("table", {className: "plain"}, head, element("tbody", {}, ...rows)));
  },

  command(a, b, metric) {
    const {runs} = now.versus;
    return element("p", {className: "note"}, "The same in a terminal, where the results are: ",
      element("code", {textContent: `python -m cmr compare results/${runs[a]} results/${runs[b]} --metric ${quoted(metric)}`}));
  },

  async scatter(found, a, b) {
    const {queries} = now.gallery.directions[byId("compare").querySelector("select.direction").selectedIndex];
    const canvas = byId("scatter");
    const {methods, sign} = now.versus;
    byId("above").textContent = sign > 0 ? "B" : "A";
    const highest = Math.max(1, ...found.values[a], ...found.values[b]);
    const axis = {range: [-0.03 * highest, 1.03 * highest], constrain: "domain"};
    const plot = {
      data: [{type: "scatter", mode: "markers", name: "a query", x: found.values[a], y: found.values[b], customdata: queries, hoverinfo: "none",
        marker: {size: 7, opacity: 0.6, color: "#0072B2"}}],
      layout: {
        xaxis: {...axis, title: {text: `A: ${plain(methods[a])}`}}, yaxis: {...axis, title: {text: `B: ${plain(methods[b])}`}, scaleanchor: "x"},
        shapes: [{type: "line", x0: 0, y0: 0, x1: highest, y1: highest, line: {color: "#9aa5af", dash: "dash"}}],
      },
    };
    const first = !canvas.dataset.listens;
    const layout = {...layoutOf(plot, "points", canvas.clientWidth), showlegend: false, height: 420};
    await Plotly.react(canvas, plot.data, layout, SETTINGS());
    if (first) {
      canvas.dataset.listens = "yes";
      showItemsOnHover(canvas);
      canvas.on("plotly_click", ({points}) => this.open(points[0].customdata));
    }
  },

  extremes(found, a, b) {
    const {queries, query} = now.gallery.directions[byId("compare").querySelector("select.direction").selectedIndex];
    const gaps = queries.map((number, row) => [now.versus.sign * (found.values[a][row] - found.values[b][row]), row]).filter(([gap]) => !Number.isNaN(gap));
    gaps.sort(([first], [second]) => second - first);
    const button = ([, row]) => element("button", {type: "button", onclick: () => this.open(queries[row])},
      element("span", {textContent: found.values[a][row].toFixed(3)}), element("span", {textContent: found.values[b][row].toFixed(3)}), content(queries[row], query));
    const list = (name, rows) => [element("h3", {textContent: `Queries where ${name} is better by most: A, B`}), ...rows.map(button)];
    byId("extremes").replaceChildren(
      ...list("A", gaps.filter(([gap]) => gap > 0).slice(0, MOST_DIFFERENT)), ...list("B", gaps.filter(([gap]) => gap < 0).reverse().slice(0, MOST_DIFFERENT)));
  },

  /** Both rankings of a query, in the gallery. */
  open(number) {
    const pair = [byId("a").value, byId("b").value];
    choose({methods: pair, query: now.items.ids[number], direction: byId("compare").querySelector("select.direction").value, class: undefined}, "gallery");
    offerMethods();
    refresh();
    byId("gallery").scrollIntoView();
  },
};

for (const id of ["a", "b"]) {
  byId(id).addEventListener("change", () => {
    choose({[id]: byId(id).value});
    compare.show();
  });
}

// The gallery ------------------------------------------------------------------------------------------------------------

const browse = {
  PAGE: 24,

  list() {
    const wanted = byId("class").value;
    this.gallery = now.gallery;
    byId("relation").textContent = this.gallery.by === "instance" ? "belongs to" : "shares a class with";
    this.direction = this.gallery.directions[byId("direction").selectedIndex];
    this.rows = this.direction.queries.map((number, row) => row)
      .filter((row) => wanted === "" || now.items.labels[this.direction.queries[row]].includes(Number(wanted)));
    if (byId("order").value === "best") this.rows.reverse();
    if (byId("order").value === "mixed") this.rows = this.spread(this.rows);
    const linked = this.rows.findIndex((row) => now.items.ids[this.direction.queries[row]] === state.query);
    const first = Math.max(linked, 0);
    this.shown = this.rows[first];
    this.turn(first - (first % this.PAGE));
    if (this.rows.length) this.show(this.shown);
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
      const known = this.direction.scores.every((scores) => scores[row] !== null);
      const mean = this.direction.scores.reduce((sum, scores) => sum + scores[row], 0) / this.gallery.methods.length;
      const button = element("button", {type: "button", ariaPressed: String(row === this.shown), onclick: () => this.pick(row)},
        content(number, query), element("span", {className: "score", textContent: `${classesOf(number)} · ${known ? mean.toFixed(2) : "–"}`}));
      button.dataset.row = row;
      return element("li", {}, button);
    }));
    const end = Math.min(start + this.PAGE, this.rows.length);
    const thinned = queries.length < this.direction.of ? `, evenly chosen from ${this.direction.of}` : "";
    byId("page").textContent = this.rows.length ? `${start + 1} to ${end} of ${this.rows.length} queries${thinned}` : "";
    byId("previous").disabled = start === 0;
    byId("next").disabled = end >= this.rows.length;
  },

  /** A page further: its first query is shown, so that one is always pressed. */
  leaf(start) {
    this.shown = this.rows[start];
    this.turn(start);
    this.pick(this.shown);
  },

  pick(row) {
    choose({query: now.items.ids[this.direction.queries[row]]});
    this.show(row);
  },

  show(row) {
    this.shown = row;
    for (const button of all("#queries button")) button.ariaPressed = String(Number(button.dataset.row) === row);
    const {queries, query} = this.direction;
    const number = queries[row];
    const head = element("div", {className: "query"}, content(number, query),
      element("p", {}, element("strong", {textContent: `Query ${query}`}), ` ${now.items.ids[number]} · ${classesOf(number)}`));
    const chosen = chosenMethods();
    const shown = this.gallery.methods.map((name, method) => [name, method]).filter(([name]) => chosen.includes(name));
    byId("retrieved").replaceChildren(head, ...shown.map(([name, method]) => this.results(name, method, row)));
  },

  results(name, method, row) {
    const {top, scores, pair, gallery, queries, size} = this.direction;
    const {labels, groups} = now.items;
    const wanted = new Set(labels[queries[row]]);
    const isHit = this.gallery.by === "instance"
      ? (number) => groups[number] === groups[queries[row]]
      : (number) => labels[number].some((label) => wanted.has(label));
    const found = top[method][row];
    const own = pair[method][row] === null ? "" : ` · own pair at rank ${pair[method][row]} of ${size}`;
    const title = element("h3", {textContent: `${name} `},
      element("span", {textContent: `${found.filter(isHit).length} of ${found.length} hits · ${this.gallery.metric} ${scores[method][row] === null ? "–" : scores[method][row].toFixed(3)}${own}`}));
    const cards = found.map((number, rank) => {
      const hit = isHit(number);
      const isText = Boolean(now.items.texts[gallery]?.[number]);
      return element("li", {className: hit ? "hit" : "miss"},
        element("div", {className: "verdict", textContent: hit ? "✓ hit" : "✗ miss"}, element("span", {textContent: rank + 1})),
        content(number, gallery),
        isText ? picture(number, "pair") : null,
        element("div", {className: "class", textContent: classesOf(number)}));
    });
    return element("div", {className: "method-row"}, title, element("ol", {className: "cards", tabIndex: 0, ariaLabel: `First results of ${name}`}, ...cards));
  },
};

for (const select of all("select.direction")) {
  select.addEventListener("change", () => {
    choose({direction: select.value, query: undefined});
    refresh();
  });
}
for (const id of ["order", "class"]) {
  byId(id).addEventListener("change", () => {
    choose({[id]: byId(id).value, query: undefined});
    browse.list();
  });
}
byId("previous").addEventListener("click", () => browse.leaf(browse.start - browse.PAGE));
byId("next").addEventListener("click", () => browse.leaf(browse.start + browse.PAGE));

// Printing: what can be unfolded is unfolded -----------------------------------------------------------------------------

const PRINTED = ".notes, #versus details, #provenance details, #credits details";
let unfolded = [];

addEventListener("beforeprint", () => {
  unfolded = all(PRINTED).filter((details) => !details.open && !details.closest("td"));
  for (const details of unfolded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
});

// Begin ------------------------------------------------------------------------------------------------------------------

async function begin() {
  const section = readAddress();
  await Promise.all([open(), sortable()]);
  if (section && byId(section)) byId(section).scrollIntoView();
  document.body.dataset.ready = "yes";
}

window.addEventListener("hashchange", begin_again);

/** A link within the page, or an address that was typed: as on opening. */
async function begin_again() {
  const section = readAddress();
  await open();
  filterTable();
  if (section && byId(section)) byId(section).scrollIntoView();
}

begin();
