"use strict";
(() => {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const source = document.getElementById("gallery-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  // Layers that are switched off: among the tiles, and in the enlarged view, which has room for both.
  const off = {tiles: new Set(["prob"]), enlarged: new Set()};
  const hasMaps = data.tiles.some((tile) => tile.prob);
  let gallery = 0, shown = [], open = -1;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  // A photograph or map, or the one above the other, and an outline per object above both.
  function picture(tile, bases, hidden) {
    const box = make("span", {class: "picture", style: `aspect-ratio:${tile.width}/${tile.height}`});
    const said = {image: `${tile.id}: ${tile.caption}`, prob: `${data.object} probability of ${tile.id}`};
    const none = {image: "image not found", prob: "below the floor: no map kept"};
    for (const base of bases) {
      const source = base === "image" ? data.images[tile.id] : tile.prob;
      if (source) box.append(make("img", {class: base, src: source, alt: said[base], loading: "lazy"}));
      else if (bases.length === 1) box.append(make("span", {class: "none"}, none[base]));
    }
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${tile.width} ${tile.height}`);
    svg.setAttribute("aria-hidden", "true");
    data.layers.forEach((layer, number) => {
      if (hidden.has(layer.key)) return;
      for (const outline of tile.outlines[layer.key]) {
        for (const kind of ["casing", "outline"]) {
          const path = document.createElementNS(svg.namespaceURI, "path");
          path.setAttribute("d", outline);
          path.setAttribute("class", number && kind === "outline" ? `outline dash${number}` : kind);
          if (kind === "outline") path.style.stroke = `var(--${layer.colour})`;
          svg.append(path);
        }
      }
    });
    box.append(svg);
    return box;
  }

  const select = (name, options, changed) => make("label", {}, name,
    make("select", {id: `by-${name.toLowerCase().replaceAll(" ", "-")}`, onchange: changed},
      ...options.map((text, index) => make("option", {value: index}, text))));
  const filters = data.filters.map((filter) => ({...filter,
    label: select(filter.name, filter.ranges.map(([name]) => name), refresh)}));
  const sorts = Object.entries(data.sorts);
  const orders = ["as chosen", ...sorts.flatMap(([, name]) => [`${name}, highest first`, `${name}, lowest first`])];
  const orderLabel = select("Order", orders, refresh);
  const chosen = (label) => Number(label.querySelector("select").value);
  const all = {key: "all", title: "All of these", why: "Every image that a gallery shows, once.", tiles: data.tiles.map((_, i) => i)};
  const galleries = [...data.galleries, all];
  const tabs = make("div", {class: "tabs", role: "tablist", "aria-label": "Galleries"});
  const why = make("p", {class: "lead"});
  const grid = make("div", {class: "tiles", id: "tiles"});
  const count = make("span", {class: "keys", id: "count", role: "status"});
  const search = make("input", {type: "search", id: "by-id", placeholder: "ImageId", oninput: refresh});
  galleries.forEach((one, index) => tabs.append(make("button",
    {type: "button", role: "tab", id: `tab-${one.key}`, onclick: () => { gallery = index; refresh(); }},
    `${one.title} `, make("span", {class: "count"}, String(one.tiles.length)))));

  const layerBars = {};
  function layerBar(view) {
    const bar = make("div", {class: "layers", role: "group", "aria-label": "Layers"});
    const toggles = [["image", "image", null], ["prob", "probability", null],
      ...data.layers.map((layer) => [layer.key, layer.name, layer.colour])];
    toggles.filter(([key]) => key !== "prob" || hasMaps).forEach(([key, name, colour], index) => {
      const number = data.layers.findIndex((layer) => layer.key === key);
      const line = `line dash${number}`;
      bar.append(make("button", {type: "button", "data-layer": key, onclick: () => toggle(view, key)},
        make("kbd", {}, String(index + 1)),
        colour ? make("span", {class: line, style: `color:var(--${colour})`}) : "", name));
    });
    layerBars[view] = bar;
    return bar;
  }

  function toggle(view, key) {
    if (!off[view].delete(key)) off[view].add(key);
    draw();
  }

  function between(value, [, least, end]) { return value >= least && value < end; }

  function refresh() {
    const order = chosen(orderLabel), text = search.value.trim();
    const keep = (tile) => tile.id.includes(text) &&
      filters.every((filter) => between(tile[filter.key], filter.ranges[chosen(filter.label)]));
    shown = galleries[gallery].tiles.map((index) => data.tiles[index]).filter(keep);
    if (order > 0) {
      const key = sorts[(order - 1) >> 1][0], sign = order % 2 ? -1 : 1;
      shown.sort((a, b) => sign * ((a[key] ?? -1) - (b[key] ?? -1)) || (a.id < b.id ? -1 : 1));
    }
    [...tabs.children].forEach((tab, index) => tab.setAttribute("aria-selected", index === gallery));
    why.textContent = galleries[gallery].why;
    count.textContent = `${shown.length} of ${galleries[gallery].tiles.length} images`;
    draw();
  }

  function draw() {
    for (const [view, bar] of Object.entries(layerBars)) {
      for (const button of bar.children) button.setAttribute("aria-pressed", !off[view].has(button.dataset.layer));
    }
    const bases = ["image", "prob"].filter((base) => !off.tiles.has(base));
    const focused = [...grid.children].indexOf(document.activeElement);
    grid.replaceChildren(...shown.map((tile, index) => make("button",
      {type: "button", class: "tile", "data-id": tile.id, onclick: () => enlarge(index)},
      picture(tile, bases, off.tiles),
      make("span", {class: "words"}, make("b", {}, `${data.metric} ${tile.said}`, make("span", {}, `fold ${tile.fold}`)),
        make("span", {}, tile.caption), make("span", {}, tile.id)))));
    if (!shown.length) grid.append(make("p", {class: "nothing"}, "No image passes these filters."));
    if (focused >= 0) grid.children[focused]?.focus();
    if (dialog.open) enlarge(open);
  }

  const title = make("h2", {});
  const views = make("div", {class: "views"});
  const said = make("p", {class: "said"});
  const dialog = make("dialog", {"aria-label": "One image, enlarged"},
    make("div", {class: "inside"},
      make("div", {class: "bar"}, title, make("span", {class: "push"}),
        make("button", {type: "button", id: "previous", "aria-label": "Previous image", onclick: () => step(-1)}, "←"),
        make("button", {type: "button", id: "next", "aria-label": "Next image", onclick: () => step(1)}, "→"),
        make("button", {type: "button", id: "close", "aria-label": "Close", onclick: () => dialog.close()}, "✕")),
      said, layerBar("enlarged"), views));
  dialog.addEventListener("close", () => grid.children[open]?.focus());

  function enlarge(index) {
    open = index;
    const tile = shown[index];
    title.textContent = tile.id;
    said.textContent = `${index + 1} of ${shown.length} · ${data.metric} ` +
      [tile.said, tile.caption, `fold ${tile.fold}`, ...tile.details].join(" · ");
    const names = {image: "image", prob: `${data.object} probability: dark 0, bright 1`};
    const bases = Object.keys(names).filter((base) => !off.enlarged.has(base) && (base === "image" || hasMaps));
    views.replaceChildren(...(bases.length ? bases.map((base) => [base]) : [[]]).map((one) => make("figure", {style: `--shape:${tile.width / tile.height}`},
      picture(tile, one, off.enlarged), make("figcaption", {class: "keys"}, names[one[0]] ?? "outlines only"))));
    if (!dialog.open) dialog.showModal();
  }

  function step(by) {
    if (shown.length) enlarge((open + by + shown.length) % shown.length);
  }

  function columns() {
    const tops = [...grid.children].map((tile) => tile.offsetTop);
    return Math.max(1, tops.filter((top) => top === tops[0]).length);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const layers = [...layerBars[dialog.open ? "enlarged" : "tiles"].children];
    const digit = layers.find((button) => button.querySelector("kbd").textContent === event.key);
    const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns()};
    if (digit) digit.click();
    else if (dialog.open && event.key in {ArrowLeft: 0, ArrowRight: 0}) step(moves[event.key]);
    else if (!dialog.open && event.key in moves && grid.contains(event.target)) {
      grid.children[[...grid.children].indexOf(event.target) + moves[event.key]]?.focus();
    } else return;
    event.preventDefault();
  });

  document.getElementById("gallery").append(tabs, why,
    make("div", {class: "controls"},
      orderLabel, ...filters.map((filter) => filter.label), make("label", {}, "Search", search)),
    make("div", {class: "controls"}, layerBar("tiles"), count,
      make("span", {class: "keys"}, make("kbd", {}, "←↑↓→"), " move, ", make("kbd", {}, "Enter"), " enlarge")),
    grid, dialog);
  refresh();
})();
