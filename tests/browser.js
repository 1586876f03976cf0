#!/usr/bin/env node
// What a browser makes of the pages: `browser.js CASE ADDRESS`, with playwright-core and axe-core from NODE_PATH and
// Chromium from CHROMIUM. It ends with 0 when all is well, and says what is not otherwise. Pictures go to PICTURES, if set.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { chromium } = require('playwright-core');

const [kind, base] = process.argv.slice(2);
const USERS = { anna: 'acts', rudi: 'reads' };

async function axe(page, what) {
  // Evaluated through the debugger, as the policy of the pages lets no script in.
  await page.evaluate(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter((one) => ['serious', 'critical'].includes(one.impact));
  const words = serious.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(' | ')}`);
  assert.deepEqual(words, [], what);
}

async function picture(page, name) {
  if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${name}.png`, fullPage: true });
}

// A page in which nothing may go wrong without a word.
async function open(browser, options) {
  const context = await browser.newContext({ baseURL: base, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()); });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(base)) problems.push(`asks for ${request.url()}`);
  });
  return { page, context, problems };
}

const signedIn = (name) => ({ httpCredentials: { username: name, password: USERS[name], send: 'always' } });

// What must be there to be judged.
const SEEN = {
  '/db/books': ['SHARED', 'Table', 'logs_by_time', 'Plan backup'],
  '/db/books?doctor=true': ['hard-links', 'critical'],
};

const CASES = {
  async looks(browser) {
    for (const colorScheme of ['light', 'dark']) {
      for (const viewport of [{ width: 1280, height: 900 }, { width: 360, height: 740 }]) {
        const { page, context, problems } = await open(browser, { ...signedIn('anna'), colorScheme, viewport });
        for (const path of ['/', '/db/books', '/db/books?range=year', '/db/books?doctor=true', '/tasks', '/?q=nothing-is-called-so']) {
          const what = `${path} ${colorScheme} ${viewport.width}`;
          await page.goto(path);
          for (const words of SEEN[path] ?? []) await page.getByText(words).first().waitFor({ state: 'attached' });
          await axe(page, what);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          assert.ok(wide <= 0, `${what} is ${wide} pixels too wide`);
          const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
          const light = back.match(/\d+/g).slice(0, 3).every((part) => Number(part) > 128);
          assert.equal(light, colorScheme === 'light', `${what}: ${back}`);
          await picture(page, `${what.replace(/[^a-z0-9]+/gi, '-')}`);
        }
        assert.deepEqual(problems, []);
        await context.close();
      }
    }
  },

  // Ten thousand databases, without a script, by the keyboard alone.
  async searches(browser) {
    const { page, problems } = await open(browser, { javaScriptEnabled: false });
    const answer = await page.goto('/');
    assert.ok((await answer.body()).length < 100_000);
    await page.getByText('10,000 of 10,000').waitFor();
    assert.equal(await page.locator('tbody tr').count(), 50);
    await page.keyboard.press('Tab');
    assert.equal(await page.locator(':focus').textContent(), 'Skip to content');
    await page.getByLabel('Name or path').focus();
    await page.keyboard.type('tenant-0777');
    await page.keyboard.press('Enter');
    await page.getByText('10 of 10,000').waitFor();
    await page.getByRole('link', { name: 'tenant-07773', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'tenant-07773' }).waitFor();
    await page.goto('/?sort=name');
    await page.getByRole('link', { name: 'next →' }).click();
    assert.equal(await page.locator('tbody tr th a').first().textContent(), 'tenant-00050');
    await page.getByRole('link', { name: 'Size', exact: true }).click();
    assert.equal(await page.locator('th[aria-sort=descending]').textContent(), 'Size ↓');
    assert.deepEqual(problems, []);
  },

  async acts(browser) {
    for (const [options, status] of [[{}, 401], [{ httpCredentials: { username: 'anna', password: 'wrong' } }, 401]]) {
      const { page, context } = await open(browser, options);
      const answer = await page.goto('/').catch(() => null);
      assert.equal(answer === null ? 401 : answer.status(), status);
      await context.close();
    }
    const reader = await open(browser, signedIn('rudi'));
    await reader.page.goto('/db/books');
    assert.equal(await reader.page.getByRole('button').count(), 0, 'who may read has no button');
    const { page, problems } = await open(browser, signedIn('anna'));
    await page.goto('/db/books');
    await page.getByRole('button', { name: 'Plan log_cleaning' }).click();
    await page.getByText('Nothing has been changed yet').waitFor();
    await axe(page, 'the dry run');
    await picture(page, 'plan');
    await page.getByRole('button', { name: 'Run log_cleaning now' }).click();
    assert.equal(new URL(page.url()).pathname, '/db/books');
    // The page shows what is known; a reload shows how it went on.
    for (let turn = 0; turn < 100 && !(await page.getByText('success: 2 rows deleted').count()); turn += 1) {
      await page.reload();
    }
    await page.getByText('success: 2 rows deleted').first().waitFor();
    await page.getByRole('button', { name: 'Plan backup' }).click();
    await page.getByText('Space for').waitFor();
    await axe(page, 'the dry run of a backup');
    await picture(page, 'plan-backup');
    await page.getByRole('button', { name: 'Run backup now' }).click();
    for (let turn = 0; turn < 100 && !(await page.locator('td', { hasText: 'run backup' }).locator('+ td', { hasText: 'success' }).count()); turn += 1) {
      await page.reload();
    }
    await page.locator('td', { hasText: 'run backup' }).locator('+ td', { hasText: 'success' }).first().waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('Maintenance of this database is paused').waitFor();
    await axe(page, 'a paused database');
    await picture(page, 'acted');
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    assert.deepEqual(problems, []);
    // A page of another place cannot send the form, though the browser knows the password.
    const token = await page.locator('input[name=token]').first().getAttribute('value');
    const other = await page.context().newPage();
    await other.goto(`data:text/html,<form method=post action="${base}/actions"><input name=token value="${token}"><input name=kind value=pause><button>x</button></form>`);
    const [answer] = await Promise.all([other.waitForResponse(`${base}/actions`), other.getByRole('button').click()]);
    assert.equal(answer.status(), 403);
  },
};

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--no-proxy-server'],
  });
  try {
    await CASES[kind](browser);
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
