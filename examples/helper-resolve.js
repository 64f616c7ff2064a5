#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Look addresses of hosts up, with the helper for JavaScript: a job is a name.
//
//   preforkctl map -- helper-resolve.js < names
//   helper-resolve.js < names                      without a daemon
//
// Most of the time is spent waiting for others. In a pool with
//
//   protocol = "frame"; pipeline = 16; start = { ready = true; };
//
// a worker waits for 16 answers at once.
'use strict';
const dns = require('dns');
// Where the helper is installed, seen from here; or copy it to where your worker is.
const preforkd = require('../helpers/preforkd.js');

preforkd.serve(async (job) => {
  try {
    const found = await dns.promises.lookup(job.text, { all: true });
    return found.map(({ address }) => address).join(' ');
  } catch (why) {
    if (why.code === 'EAI_AGAIN') throw new preforkd.Retry(`${job.text}: no name server answers`);
    throw why;
  }
}, { jobs: 16 });
