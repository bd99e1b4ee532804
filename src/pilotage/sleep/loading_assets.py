"""Contains the style sheet and the script of the loading page. Pure.

Both are the same for every service, so a fixed Content-Security-Policy can contain their hashes. Texts that differ
between services are in HTML elements and attributes of the page.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPT", "STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #fafafa; --tile: #ececee; --text: #18181b; --quiet: #66666f; --line: #e4e4e7;
  --accent: #2f5fd0; --on-accent: #fff; --bad: #b42318; --bad-ground: #fdf2f1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131316; --tile: #26262b; --text: #ececf0; --quiet: #a0a0ab; --line: #2b2b31;
    --accent: #86a8f7; --on-accent: #10131c; --bad: #f5968c; --bad-ground: #2a1816;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  display: grid; justify-content: center; grid-template-columns: minmax(0, 23rem);
  padding: clamp(2rem, 24vh, 15rem) 1.5rem 3rem;
  background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
}
.tile {
  position: relative; width: 3.5rem; height: 3.5rem; border-radius: .875rem; overflow: hidden;
  display: grid; place-items: center; background: var(--tile); color: var(--quiet);
  font-size: 1.5rem; font-weight: 600;
}
.tile img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; padding: .5rem; }
h1 { margin-top: 1.25rem; font-size: 1.5rem; line-height: 1.25; font-weight: 600; letter-spacing: -.01em; }
#headline { margin-top: .375rem; min-height: 1.5em; color: var(--quiet); }
[data-look=failed] #headline { color: var(--bad); }
.bar { margin-top: 1.25rem; }
progress {
  display: block; width: 100%; height: 4px; border: 0; border-radius: 2px; overflow: hidden;
  appearance: none; -webkit-appearance: none; background: var(--line); color: var(--accent);
}
progress::-webkit-progress-bar { background: transparent; }
progress::-webkit-progress-value { background: var(--accent); border-radius: 2px; transition: width .6s linear; }
progress::-moz-progress-bar { background: var(--accent); border-radius: 2px; }
progress:indeterminate {
  background: linear-gradient(90deg, transparent, var(--accent), transparent) 0 0 / 40% 100% no-repeat var(--line);
  animation: slide 2.4s ease-in-out infinite alternate;
}
progress:indeterminate::-moz-progress-bar { background: transparent; }
@keyframes slide { from { background-position: -30% 0; } to { background-position: 130% 0; } }
.time {
  margin-top: .5rem; display: flex; justify-content: space-between; gap: 1rem;
  font-size: .875rem; color: var(--quiet); font-variant-numeric: tabular-nums;
}
.failure {
  margin-top: 1.25rem; padding: .75rem .875rem; max-height: 11rem; overflow: auto;
  border-radius: .625rem; background: var(--bad-ground);
  font: .8125rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
.retry { margin-top: 1.25rem; display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
.retry span { font-size: .875rem; color: var(--quiet); font-variant-numeric: tabular-nums; }
.retry a {
  padding: .5rem 1.125rem; border-radius: .625rem; background: var(--accent); color: var(--on-accent);
  font-weight: 500; text-decoration: none;
}
.retry a:hover { filter: brightness(1.08); }
.retry a[aria-disabled=true] { background: var(--tile); color: var(--quiet); cursor: default; filter: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.earlier { margin-top: 1.5rem; font-size: .875rem; color: var(--quiet); }
.earlier:empty { display: none; }
ul { margin-top: 1.5rem; padding: 0; list-style: none; font-size: .875rem; color: var(--quiet); }
.earlier:not(:empty) + ul { margin-top: .375rem; }
ul:empty { display: none; }
li { position: relative; padding: .125rem 0 .125rem 1.5rem; }
li::before {
  content: ""; position: absolute; left: .25rem; top: .5em; width: .3125rem; height: .5625rem;
  border: solid var(--accent); border-width: 0 1.5px 1.5px 0; transform: rotate(45deg);
}
body:not([data-look=failed]) .failure, body:not([data-look=waking]) .time { display: none; }
[data-look=waking] .retry, [data-look=moment] .retry { display: none; }
[data-look=failed] .bar, [data-look=asleep] .bar { display: none; }
[hidden] { display: none; }
@media (prefers-reduced-motion: reduce) {
  progress:indeterminate { animation: none; background-position: 50% 0; }
  progress::-webkit-progress-value { transition: none; }
}
@media (forced-colors: active) {
  .retry a { border: 1px solid; }
  progress { border: 1px solid; appearance: auto; -webkit-appearance: auto; height: .75rem; }
}
"""

# EventSource reconnects by itself unless the response is not a stream. That happens if there are too many streams, or
# if the path already leads to the service, which is then ready. Reloading is right in both cases.
SCRIPT: Final = """
"use strict";
(() => {
  const body = document.body, find = id => document.getElementById(id);
  const names = ["waking_dep", "dep_ready", "starting", "container_woke", "waiting_ready", "ready", "error",
    "asleep", "quiescing", "stopping"];
  let status = JSON.parse(body.dataset.status), since = performance.now();
  let source = null, timer = 0, heard = false, leaving = false;

  const put = (id, text) => { const at = find(id); if (at.textContent !== text) at.textContent = text; };
  const seconds = value => {
    const whole = Math.ceil(value);
    return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  };
  const reload = () => { if (!leaving) { leaving = true; location.reload(); } };
  const busy = () => status.look === "waking" || status.look === "moment";

  const tick = () => {
    const gone = (performance.now() - since) / 1000, waited = status.waited + gone, bar = find("progress");
    put("elapsed", seconds(Math.floor(waited)));
    if (status.look === "waking" && status.typical) bar.value = .95 * (1 - Math.exp(-2 * waited / status.typical));
    else bar.removeAttribute("value");
    const left = Math.max(0, (status.retry_in || 0) - gone);
    put("retry", left ? `in ${seconds(left)}` : "");
    if (left) find("action").setAttribute("aria-disabled", "true");
    else find("action").removeAttribute("aria-disabled");
  };

  const show = () => {
    body.dataset.look = status.look;
    document.title = status.title;
    put("headline", status.headline);
    put("failure", status.failure);
    put("action", status.action);
    put("earlier", status.earlier);
    put("typical", status.typical ? `usually ${seconds(status.typical)}` : "");
    find("done").replaceChildren(...status.done.map(text => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    tick();
  };

  const receive = event => {
    if (!(event instanceof MessageEvent)) return;
    heard = true;
    status = JSON.parse(event.data);
    since = performance.now();
    if (status.phase === "ready") { source.close(); reload(); } else show();
  };

  const connect = () => {
    clearTimeout(timer);
    if (source) source.close();
    heard = false;
    source = new EventSource(body.dataset.events);
    for (const name of names) source.addEventListener(name, receive);
    source.addEventListener("error", event => {
      if (event instanceof MessageEvent || source.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(() => busy() ? reload() : connect(), 5000);
    });
    // A proxy in between may buffer events until it has many.
    timer = setTimeout(() => { if (!heard && busy()) reload(); }, 10000);
  };

  const icon = find("icon"), letter = find("letter");
  if (icon) {
    const drawn = () => { letter.hidden = icon.complete && icon.naturalWidth > 0; icon.hidden = !letter.hidden; };
    icon.addEventListener("load", drawn);
    icon.addEventListener("error", drawn);
    drawn();
  }
  find("action").addEventListener("click", event => {
    event.preventDefault();
    if (find("action").getAttribute("aria-disabled") !== "true") reload();
  });
  show();
  if (status.phase === "ready") { setTimeout(reload, 1000); return; }
  setInterval(tick, 500);
  connect();
  // The connection may have been lost unnoticed, or the browser may have restored the page from its history.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) connect(); });
  addEventListener("pageshow", event => { if (event.persisted) { leaving = false; connect(); } });
})();
"""
