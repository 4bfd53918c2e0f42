// The theme toggle and the order form. Both work without script in a plainer way.

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');
const toggle = document.querySelector('.theme-toggle');
const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : system.matches);
const showTheme = () => toggle.setAttribute('aria-pressed', isDark());

toggle.addEventListener('click', () => {
  root.dataset.theme = isDark() ? 'light' : 'dark';
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  showTheme();
});
system.addEventListener('change', showTheme);
showTheme();

const form = document.getElementById('order');
if (form) {
  const { count, key } = form.elements;
  const label = form.querySelector('[data-label]');
  const quick = [...form.querySelectorAll('.quick a')];

  const show = () => {
    const n = /^\d+$/.test(count.value) ? Number(count.value) : 0;
    label.textContent = n > 0 && n <= count.max ? n.toLocaleString('en') + (n === 1 ? ' pizza' : ' pizzas') : 'pizzas';
    for (const a of quick) {
      if (a.textContent === count.value) a.setAttribute('aria-current', 'true');
      else a.removeAttribute('aria-current');
    }
  };
  const set = (n) => {
    count.value = Math.min(count.max, Math.max(1, n));
    show();
  };

  count.addEventListener('input', show);
  form.addEventListener('click', (event) => {
    const step = event.target.closest('[data-step]');
    const choice = event.target.closest('.quick a');
    if (step) set((parseInt(count.value, 10) || 0) + Number(step.dataset.step));
    if (choice && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      set(Number(choice.textContent));
    }
  });
  // A form that one comes back to is a new one: two clicks are one order, two visits are two.
  addEventListener('pageshow', (event) => {
    const [visit] = performance.getEntriesByType('navigation');
    if (event.persisted || visit?.type === 'back_forward') {
      key.value = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
    }
    show();
  });
  show();
}
