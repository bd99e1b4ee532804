"use strict";
(() => {
  const root = document.documentElement, find = id => document.getElementById(id);
  const live = find("live"), search = find("search");
  root.classList.add("scripted");
  document.querySelector("nav [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});

  // ---- New content. Elements with data-patch are compared by ID, and the children of data-list by theirs.
  const merge = (list, fresh) => {
    const known = new Map([...list.children].map(item => [item.id, item]));
    let next = list.firstElementChild;
    for (const item of [...fresh.children]) {
      let old = known.get(item.id);
      known.delete(item.id);
      if (!old || old.outerHTML !== item.outerHTML) {
        const focused = old && old.contains(document.activeElement);
        if (old === next && old) next = old.nextElementSibling;
        if (old) old.remove();
        list.insertBefore(old = document.importNode(item, true), next);
        if (focused) old.querySelector("[data-open]")?.focus();
      } else if (old === next) next = next.nextElementSibling;
      else list.insertBefore(old, next);
    }
    for (const gone of known.values()) gone.remove();
  };
  const patch = fresh => {
    document.title = fresh.title;
    document.body.dataset.version = fresh.body.dataset.version;
    const lists = node => [...node.querySelectorAll("[data-list]")].map(it => it.id).join();
    for (const part of fresh.querySelectorAll("[data-patch]")) {
      const old = find(part.id);
      if (!old || old.innerHTML === part.innerHTML) continue;
      const same = lists(old) && lists(old) === lists(part);
      const bare = node => {
        const copied = node.cloneNode(true);
        for (const it of copied.querySelectorAll("[data-list]")) it.replaceChildren();
        return copied.innerHTML;
      };
      if (same && bare(old) === bare(part)) {
        for (const list of part.querySelectorAll("[data-list]")) merge(find(list.id), list);
      } else {
        const focused = old.contains(document.activeElement) && document.activeElement.closest("[id]")?.id;
        old.replaceChildren(...document.importNode(part, true).childNodes);
        if (focused) (find(focused)?.querySelector("[data-open]") || find(focused))?.focus();
      }
    }
  };
  let asked = 0;
  const load = async url => {
    const number = ++asked;
    try {
      const answer = await fetch(url, {headers: {Accept: "text/html"}});
      const text = await answer.text();
      if (number === asked && answer.ok) patch(new DOMParser().parseFromString(text, "text/html"));
    } catch { /* the event stream says that the connection is gone */ }
  };

  // ---- Events. Bursts lead to one request, and hidden tabs wait until somebody looks.
  let due = 0, stream = null;
  const soon = (wait = 300) => {
    if (due || !stream) return;
    due = setTimeout(() => { due = 0; if (!document.hidden) load(location.href); }, wait);
  };
  const say = (text, away) => {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("away", away);
    live.hidden = false;
  };
  const connect = () => {
    if (stream) stream.close();
    stream = new EventSource(document.body.dataset.events);
    stream.addEventListener("open", () => say("live", false));
    stream.addEventListener("table", event => { if (event.lastEventId !== document.body.dataset.version) soon(); });
    stream.addEventListener("error", () => {
      say("reconnecting", true);
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
    });
  };
  if (document.body.dataset.events) {
    connect();
    setInterval(() => soon(0), 10000);  // rates and times change without an event
    // Browsers allow few connections to one host, so hidden tabs give theirs back.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) stream.close();
      else { connect(); soon(0); }
    });
  }

  // ---- Search as you type. The address has what is shown.
  if (search) {
    let typing = 0;
    search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        const query = new URLSearchParams(new FormData(search.form));
        for (const [name, value] of [...query]) if (!value) query.delete(name);
        const text = query.toString(), url = search.form.action + (text && `?${text}`);
        history.replaceState(null, "", url);
        load(url);
      }, 150);
    });
  }

  // ---- Keys
  const items = () => [...document.querySelectorAll("[data-item] [data-open], [data-item] .problem a")];
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.matches("input, textarea, select");
    if (event.key === "Escape") {
      if (writing && search.value) { search.value = ""; search.dispatchEvent(new Event("input")); }
      else document.activeElement.blur();
    } else if (writing) {
      if (event.key === "ArrowDown") { event.preventDefault(); items()[0]?.focus(); }
    } else if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "k") {
      const all = items(), at = all.indexOf(document.activeElement), step = event.key === "j" ? 1 : -1;
      all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)]?.focus();
    }
  });

  // ---- Copying
  if (navigator.clipboard) root.classList.add("copies");
  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
})();
