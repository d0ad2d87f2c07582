// What a page can do beyond links and forms: show what happens while it is open,
// the progress of an upload, the choice of a theme, and ticks for a whole page.
// Old browsers are kept in mind: no syntax newer than ECMAScript 5.
(function () {
  'use strict';

  // Live pages. The server sends the page again when it differs; only what differs
  // is changed here, so that ticks, typed text, open details and the focus stay.
  function key(node) {
    return node.nodeType === 1 ? node.getAttribute('data-key') || node.id : '';
  }

  function same(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
  }

  // What people have changed themselves is theirs.
  function keeps(node, name) {
    return node.nodeName === 'DETAILS' && name === 'open' || node.id === 'line' || node.nodeName === 'INPUT' && name === 'value' && node.type !== 'hidden';
  }

  function morph(node, want) {
    if (node.nodeType === 3 || node.nodeType === 8) {
      if (node.data !== want.data) {
        node.data = want.data;
      }
      return;
    }
    if (node.nodeType !== 1 || node.id === 'line') {
      return;
    }
    var i, a;
    for (i = 0; i < want.attributes.length; i++) {
      a = want.attributes[i];
      if (node.getAttribute(a.name) !== a.value && !keeps(node, a.name)) {
        node.setAttribute(a.name, a.value);
      }
    }
    for (i = node.attributes.length - 1; i >= 0; i--) {
      a = node.attributes[i];
      if (!want.hasAttribute(a.name) && !keeps(node, a.name)) {
        node.removeAttribute(a.name);
      }
    }
    if (node.nodeName === 'TEXTAREA' || node.nodeName === 'SELECT') {
      return;
    }
    children(node, want);
  }

  function children(node, want) {
    var keyed = {}, child, next, have, k;
    for (child = node.firstChild; child; child = child.nextSibling) {
      k = key(child);
      if (k) {
        keyed[k] = child;
      }
    }
    have = node.firstChild;
    for (child = want.firstChild; child; child = next) {
      next = child.nextSibling;
      k = key(child);
      if (k && keyed[k] && same(keyed[k], child)) {
        if (keyed[k] !== have) {
          node.insertBefore(keyed[k], have);
        } else {
          have = have.nextSibling;
        }
        morph(keyed[k], child);
      } else if (have && !key(have) && !k && same(have, child)) {
        morph(have, child);
        have = have.nextSibling;
      } else {
        node.insertBefore(document.importNode(child, true), have);
      }
    }
    while (have) {
      next = have.nextSibling;
      node.removeChild(have);
      have = next;
    }
  }

  function line(text, lost) {
    var el = document.getElementById('line');
    if (!el) {
      return;
    }
    el.hidden = !text;
    el.className = lost ? 'line lost' : 'line';
    if (el.textContent !== text) {
      el.textContent = text;
    }
  }

  function live() {
    if (!document.body.hasAttribute('data-live') || !window.EventSource || !window.DOMParser) {
      return;
    }
    var source, over = false, parser = new DOMParser();
    function open() {
      if (source || over) {
        return;
      }
      source = new EventSource(location.pathname + location.search);
      source.onopen = function () { line('live', false); };
      source.onmessage = function (event) {
        var fresh = parser.parseFromString('<div>' + event.data + '</div>', 'text/html').body.firstChild;
        var said = document.querySelector('.said');
        if (said) {
          var main = fresh.querySelector('main');
          main.insertBefore(document.importNode(said, true), main.firstChild);
        }
        scripted(fresh);
        children(document.getElementById('page'), fresh);
        document.title = document.getElementById('main').getAttribute('data-title');
      };
      source.addEventListener('over', function () { // what it showed has come to its end
        over = true;
        close();
        line('', false);
      });
      source.onerror = function () {
        line('not live: the server does not answer', true);
        if (source && source.readyState === 2) { // it said no; the page itself says why
          source = null;
          setTimeout(function () { location.reload(); }, 5000);
        }
      };
    }
    function close() {
      if (source) {
        source.close();
        source = null;
      }
    }
    // A page that nobody sees is not drawn.
    document.addEventListener('visibilitychange', function () {
      if (document.hidden) { close(); } else { open(); }
    });
    window.addEventListener('pagehide', close);
    open();
  }

  // Uploads.
  function size(n) {
    var units = ['bytes', 'kB', 'MB', 'GB', 'TB'], u = 0;
    while (n >= 1000 && u < units.length - 1) {
      n /= 1000;
      u++;
    }
    return (u === 0 ? n : n.toFixed(1)) + ' ' + units[u];
  }

  function upload(form) {
    form.addEventListener('submit', function (event) {
      if (!window.FormData || !window.XMLHttpRequest) {
        return;
      }
      event.preventDefault();
      var box = form.querySelector('.upload'), bar = box.querySelector('progress'), text = box.querySelector('span');
      var send = new XMLHttpRequest(), began = Date.now(), button = form.querySelector('button:not([type])');
      box.hidden = false;
      button.disabled = true;
      function ended(said) {
        text.textContent = said;
        button.disabled = false;
      }
      send.upload.onprogress = function (e) {
        if (!e.lengthComputable) {
          return;
        }
        var s = (Date.now() - began) / 1000;
        bar.value = 100 * e.loaded / e.total;
        text.textContent = size(e.loaded) + ' of ' + size(e.total) + (s > 1 ? ', ' + size(e.loaded / s) + '/s' : '');
      };
      send.onload = function () {
        if (send.status < 400) {
          location.href = send.getResponseHeader('Location');
          return;
        }
        var page = new DOMParser().parseFromString(send.responseText, 'text/html');
        var why = page.querySelector('main .panel');
        ended(why ? why.textContent.replace(/\s+/g, ' ').trim() : 'The server answers ' + send.status + '.');
      };
      send.onerror = function () { ended('The connection to the server broke. Nothing was added.'); };
      send.onabort = function () { ended('Cancelled. Nothing was added.'); };
      box.querySelector('[data-cancel]').onclick = function () { send.abort(); };
      send.open('POST', form.action);
      send.setRequestHeader('X-CSRF-Token', form.querySelector('[name=csrf]').value);
      send.send(new FormData(form));
    });
  }

  // The theme is a cookie, so that the server draws the page in it from the start.
  function theme() {
    document.addEventListener('click', function (event) {
      var button = event.target;
      while (button && button.id !== 'theme') {
        button = button.parentNode;
      }
      if (!button) {
        return;
      }
      var root = document.documentElement, now = root.getAttribute('data-theme') || '';
      var next = { '': 'dark', dark: 'light', light: '' }[now];
      if (next) {
        root.setAttribute('data-theme', next);
      } else {
        root.removeAttribute('data-theme');
      }
      document.getElementById('theme-name').textContent = next || 'system';
      document.cookie = 'castpoint_theme=' + next + '; path=/; samesite=strict; max-age=' + (next ? 31536000 : 0);
    });
  }

  document.addEventListener('change', function (event) {
    var name = event.target.getAttribute && event.target.getAttribute('data-all');
    if (!name || !event.target.form) {
      return;
    }
    var boxes = event.target.form.querySelectorAll('input[type=checkbox][name="' + name + '"]');
    for (var i = 0; i < boxes.length; i++) {
      boxes[i].checked = event.target.checked;
    }
  });

  // "/" goes to the search field, where there is one.
  document.addEventListener('keydown', function (event) {
    var field = document.getElementById('search'), at = document.activeElement;
    if (event.key === '/' && field && !(at && /^(INPUT|SELECT|TEXTAREA)$/.test(at.nodeName))) {
      event.preventDefault();
      field.focus();
    }
  });

  document.addEventListener('click', function (event) {
    if (event.target.hasAttribute && event.target.hasAttribute('data-back') && history.length > 1) {
      event.preventDefault();
      history.back();
    }
  });

  // What means nothing without the script is shown by it.
  function scripted(root) {
    var hidden = root.querySelectorAll('[data-script][hidden], #theme[hidden]');
    for (var i = 0; i < hidden.length; i++) {
      hidden[i].hidden = false;
    }
  }

  scripted(document);
  theme();
  var forms = document.querySelectorAll('form[data-upload]');
  for (var i = 0; i < forms.length; i++) {
    upload(forms[i]);
  }
  live();
}());
