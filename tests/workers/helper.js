#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// A worker with helpers/preforkd.js; helper.py says what its jobs are.
'use strict';
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const preforkd = require(path.join(__dirname, '../../helpers/preforkd.js'));

const verbs = {
  print(job, arg) {
    console.log(arg);
    process.stdout.write(execFileSync('echo', [`by echo: ${arg}`]));
    return 'printed';
  },
  read() {
    const script = 'cat; echo "<${PREFORKD_PROTOCOL-none}>"';
    return execFileSync('sh', ['-c', script]).toString().trim();
  },
  fail(job, arg) { job.err(arg); },
  retry(job, arg) { throw new preforkd.Retry(arg); },
  throw(job, arg) { throw new RangeError(arg); },
  progress(job) {
    job.progress(1, 3, 'one\nthird');
    return 'after progress';
  },
  out(job, arg) {
    job.out(arg);
    return 'after out';
  },
  log(job, arg) {
    const space = arg.indexOf(' ');
    preforkd.log(arg.slice(space + 1), Number(arg.slice(0, space)));
    return 'after log';
  },
  lines() { return 'two\nlines'; },
  cr() { return 'x\r'; },
  big(job, arg) { return 'x'.repeat(Number(arg)); },
  who(job) { return `${job.id} ${job.attempt}`; },
  gate(job, arg) { return fs.promises.readFile(arg); },
  async cancel(job, arg) {
    await fs.promises.readFile(arg);
    if (!job.cancelled) await new Promise((keep) => job.signal.addEventListener('abort', keep));
    job.err('given up');
  },
  exit() { process.exit(3); },
  number() { return 5; },
  nothing() { },
  twice(job) { job.ok('once'); job.ok('twice'); },
};

console.log('starting');
preforkd.serve((job) => {
  const [verb] = job.text.split(' ', 1);
  return verbs[verb] ? verbs[verb](job, job.text.slice(verb.length + 1)) : job.payload;
}, { jobs: process.argv.includes('--four') ? 4 : 1 });
