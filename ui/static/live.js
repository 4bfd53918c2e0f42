// Keeps a page live: takes fragments of HTML from the page's one event stream
// and changes what differs. The server renders them with the templates of the
// page, so there is nothing to render here.

const page = document.body;
const connection = document.getElementById('connection');
const outage = document.querySelector('.outage');
const notices = ['reconnecting', 'offline'].map((id) => document.getElementById(id));
const tapeLength = 200;

const toggled = new WeakSet(); // the details that someone has opened or closed

let source; // the stream, while there is one
let last = Number(page.dataset.last); // number of the last event on the page
let done = false; // the server has said that nothing will change any more
let failures = 0;
let lost = 0; // when the connection broke, 0 while it holds
let heard = Date.now();
let timer;
let toldFor; // the time until good news goes
let feeding; // the frame in which the tape scrolls to its new lines

function open() {
  clearTimeout(timer);
  if (source || done || document.hidden) return;
  const url = new URL(page.dataset.live, location.href);
  if (last > 0) url.searchParams.set('last_event_id', last);
  source = new EventSource(url);
  source.addEventListener('open', () => {
    failures = lost = 0;
    showLive();
  });
  source.addEventListener('patch', (event) => {
    if (event.lastEventId) last = Number(event.lastEventId);
    heard = Date.now();
    patch(event.data);
    showLive();
  });
  source.addEventListener('end', () => {
    done = true;
    close();
    show('live', 'Finished');
  });
  // The browser would give up after an answer that is not a stream, a 503 for instance.
  source.addEventListener('error', retry);
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = undefined;
}

function retry() {
  close();
  lost ||= Date.now();
  // What navigator.onLine says is not asked: it knows nothing of a server on this machine.
  if (Date.now() - lost < 30_000) show('reconnecting', 'Reconnecting');
  else show('offline', 'Offline');
  const wait = Math.min(20_000, 500 * 2 ** failures++);
  timer = setTimeout(open, wait * (0.5 + Math.random() / 2)); // not all tabs at once
}

// showLive says that the connection holds; without a broker nothing comes over it.
function showLive() {
  if (outage.querySelector('[data-state=reconnecting]')) show('paused', 'Paused');
  else show('live', 'Live');
}

// show says how the connection is, in the header at once and in a notice once
// it takes longer than a restart.
function show(state, word) {
  if (connection.textContent !== word) connection.textContent = word;
  connection.dataset.state = state;
  const long = lost && Date.now() - lost > 5_000;
  for (const notice of notices) {
    notice.querySelector('[data-when]').textContent = new Date(heard).toISOString().slice(11, 19);
    notice.hidden = !(long && notice.id === state);
  }
}

// patch puts each fragment in the place of the element with its id. If what had
// the focus is gone then, the heading of what it was in has it.
function patch(html) {
  const focused = document.activeElement;
  const template = document.createElement('template');
  template.innerHTML = html;
  const headline = document.querySelector('[data-headline]')?.textContent;
  for (const fragment of [...template.content.children]) {
    if (fragment.dataset.prepend) prepend(document.getElementById(fragment.dataset.prepend), fragment.children);
    else {
      const old = document.getElementById(fragment.id);
      if (fragment.id === 'outage') patchOutage(old, fragment);
      else if (old) morph(old, fragment);
    }
  }
  if (!focused.isConnected) (document.getElementById('pizzas') ?? document.getElementById('main')).focus({ preventScroll: true });
  if (headline) document.title = document.title.replace(undirected(headline), () => undirected(document.querySelector('[data-headline]').textContent));
}

// undirected drops controls of text direction, as the server does where nothing can be isolated.
function undirected(text) {
  return text.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '');
}

// patchOutage says that the line is paused, or that it runs again. In the flow of
// the page that keeps its place, so that nothing below moves; afloat, good news
// goes after a while.
function patchOutage(old, now) {
  clearTimeout(toldFor);
  const floats = 'later' in outage.dataset;
  if (!floats) outage.style.minHeight = now.children.length ? `${outage.offsetHeight}px` : '';
  morph(old, now);
  if (!old.children.length) outage.dataset.later = '';
  else if (floats && old.querySelector('[data-state=complete]')) toldFor = setTimeout(() => old.replaceChildren(), 10_000);
}

// prepend adds lines to the tape and keeps in view what someone has scrolled
// to. A tape at its top feeds: first nothing moves, then it scrolls to the new
// lines, which is no shift of the layout. A short one gets room to scroll in.
function prepend(list, lines) {
  const view = list.parentElement;
  const { scrollTop, scrollHeight } = view;
  const added = [...lines];
  const feeds = scrollTop === 0 || list.classList.contains('feeding');
  if (feeds) list.classList.add('feeding');
  for (const line of added) line.classList.add('just-in');
  const room = view.scrollHeight - scrollHeight;
  list.prepend(...added);
  view.scrollTop = scrollTop + view.scrollHeight - scrollHeight - room;
  while (list.children.length > tapeLength) list.lastElementChild.remove();
  if (!feeds) return;
  // Lines that come in between begin the wait anew: one frame must not both add and scroll.
  cancelAnimationFrame(feeding);
  feeding = requestAnimationFrame(() => (feeding = requestAnimationFrame(() => feed(list, view))));
}

function feed(list, view) {
  view.scrollTop = 0;
  list.classList.remove('feeding');
}

// morph makes an element like another and touches only what differs, so that
// focus, selection, opened details and loaded pictures stay.
function morph(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || (old.id ?? '') !== (now.id ?? '')) {
    old.replaceWith(now);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && !belongsToPage(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value && !belongsToPage(old, name)) old.setAttribute(name, value);
  }
  morphChildren(old, now);
}

function morphChildren(old, now) {
  const kept = new Set(Array.from(now.children, (child) => child.id));
  let at = old.firstChild;
  for (const child of [...now.childNodes]) {
    while (at?.id && !kept.has(at.id)) at = removed(at);
    if (child.id && at?.id !== child.id) {
      // Children with ids may come in between; moving one would take the focus from it.
      const moved = [...old.children].find((c) => c.id === child.id);
      old.insertBefore(moved ?? child, at);
      if (moved) morph(moved, child);
    } else if (at) {
      const next = at.nextSibling;
      morph(at, child);
      at = next;
    } else {
      old.append(child);
      if (child.localName === 'use') child.classList.add('just-in'); // a layer drops onto the pizza
    }
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// belongsToPage tells what people or this script have changed, not the server.
function belongsToPage(element, attribute) {
  return (
    (element.localName === 'details' && attribute === 'open' && toggled.has(element)) ||
    (element.localName === 'use' && attribute === 'class') ||
    (element.localName === 'option' && attribute === 'selected')
  );
}

document.addEventListener('click', ({ target }) => {
  const summary = target.closest('summary');
  if (summary) toggled.add(summary.parentElement);
});
document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
addEventListener('pagehide', close);
addEventListener('pageshow', (event) => event.persisted && open());
addEventListener('online', () => {
  failures = 0;
  open();
});
open();
