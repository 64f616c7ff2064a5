#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// A worker in JavaScript: a job is an expression, its result the value as JSON.
//
//   seq 5 | sed 's/$/ ** 2/' | preforkctl map -- node worker.js
//
// Each answer leaves at once, and in the order of the jobs.
'use strict';
const vm = require('vm');
const lines = require('readline').createInterface({ input: process.stdin });

lines.on('line', (job) => {
  try {
    console.log('OK', JSON.stringify(vm.runInNewContext(job, {}, { timeout: 1000 })));
  } catch (why) {
    console.log('ERR', String(why.message).split('\n')[0]);
  }
});
