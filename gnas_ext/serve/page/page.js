// The page: a user, or some items, to titles and reasons. The address after # says what is shown, so it can be sent.
"use strict";

const $ = id => document.getElementById(id);
const SHOWN = 10;
const picked = new Map(); // id as text -> { item, title }
let question = 0; // answers to an older one are thrown away

// An element with text; titles come from a log, so they are never read as HTML.
function make(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

async function answer(path, body) {
  const sent = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, sent);
  const found = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

function notice(text, bad = false) {
  $("notice").textContent = text;
  $("notice").className = bad ? "bad" : "";
}

const name = item => item.title ?? String(item.item);
const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);

async function recommend(who) {
  const asked = ++question;
  notice("…");
  try {
    const body = who.user === undefined ? { history: who.history } : { users: [who.user] };
    const { lists: [list] } = await answer("/recommend", { ...body, k: SHOWN });
    if (asked !== question) return;
    $("list").replaceChildren(...list.items.map(item => entry(item)));
    notice(list.source === "popular" ? `“${who.user}” was not in training: these are the most popular items.`
      : list.items.length ? "" : "There is nothing left to recommend.");
    await Promise.all(list.items.map((item, place) => reasons(who, item, $("list").children[place], asked)));
  } catch (error) {
    if (asked === question) {
      $("list").replaceChildren();
      notice(error.message, true);
    }
  }
}

function entry(item) {
  return make("li", undefined, make("strong", name(item)), make("p"));
}

// Why: in words, and as a sum whose lines add up to the score.
async function reasons(who, item, place, asked) {
  const { user, history } = who;
  const why = await answer("/explain", { ...(user === undefined ? { history } : { user }), item: item.item });
  if (asked !== question) return;
  for (const reason of why.reasons) {
    const mine = picked.get(String(reason.item)); // one that came by the address has no title yet
    if (mine && mine.title !== reason.title) {
      mine.title = reason.title;
      show();
    }
  }
  const words = place.querySelector("p");
  words.className = "reason";
  const speaking = why.reasons.filter(reason => reason.contribution > 0).slice(0, 3);
  words.textContent = speaking.length ? `because of ${speaking.map(name).join(", ")}`
    : why.method === "popularity" ? "because many like it" : "because of what many like";
  const lines = [["everybody", why.base], ...why.reasons.map(reason => [name(reason), reason.contribution])];
  if (why.others.count) lines.push([`${why.others.count} more`, why.others.contribution]);
  if (why.rest) lines.push(["rest", why.rest]);
  const table = make("table", undefined, ...lines.map(([what, value]) => row(what, signed(value))));
  table.append(row("score", why.score.toFixed(3)));
  place.append(make("details", undefined, make("summary", "the sum"), make("p", why.sums), table));
}

function row(what, value) {
  return make("tr", undefined, make("td", what), make("td", value));
}

function show() {
  $("picked").replaceChildren(...[...picked].map(([id, item]) => {
    const chip = make("button", `${name(item)} ×`);
    chip.type = "button";
    chip.onclick = () => { picked.delete(id); show(); };
    return chip;
  }));
  $("go").disabled = !picked.size;
}

let waiting;
let typed = 0;
async function find() {
  const words = $("words").value.trim();
  const now = ++typed;
  const { items } = words ? await answer(`/items?q=${encodeURIComponent(words)}&limit=8`) : { items: [] };
  if (now !== typed) return;
  $("found").replaceChildren(...items.filter(item => !picked.has(String(item.item))).map(item => {
    const choice = make("button", name(item));
    choice.type = "button";
    choice.onclick = () => {
      picked.set(String(item.item), item);
      $("words").value = "";
      $("found").replaceChildren();
      show();
    };
    return choice;
  }));
}

$("words").oninput = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => find().catch(error => notice(error.message, true)), 150);
};
$("by-user").onsubmit = event => {
  event.preventDefault();
  location.hash = new URLSearchParams({ user: $("user").value.trim() });
};
$("by-items").onsubmit = event => {
  event.preventDefault();
  if (picked.size) location.hash = new URLSearchParams([...picked.keys()].map(id => ["item", id]));
};

function go() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("user")) {
    $("user").value = asked.get("user");
    recommend({ user: asked.get("user") });
  } else if (asked.has("item")) {
    for (const id of asked.getAll("item")) if (!picked.has(id)) picked.set(id, { item: id, title: null });
    show();
    recommend({ history: asked.getAll("item") });
  }
}

addEventListener("hashchange", go);
answer("/healthz").then(
  now => { $("about").textContent = `${now.name}: ${now.users.toLocaleString()} users, ${now.items.toLocaleString()} items`; },
  error => notice(error.message, true),
);
go();
