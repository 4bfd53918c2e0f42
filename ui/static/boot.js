// Shows what only works with script. It stands in the head and blocks, so that nothing moves later.
document.documentElement.classList.add('js');
