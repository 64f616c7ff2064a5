// SPDX-License-Identifier: MIT
// cases - run one of a client's cases: NAME SOCKET. Standard input is the test's: a
// case that needs something done prints a word and waits for a line.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const lines = [];
const waiting = [];

const input = readline.createInterface({ input: process.stdin, terminal: false });
input.on('line', (line) => {
	if (waiting.length) waiting.shift()(line);
	else lines.push(line);
});

// Say that something is to be done, and wait until it is.
exports.ask = (what) => {
	console.log(what);
	if (lines.length) return Promise.resolve(lines.shift());
	return new Promise((resolve) => waiting.push(resolve));
};

// A list that somebody else fills: take(n) is a promise of the first n, then emptied.
exports.collector = () => {
	const got = [];
	let wanted = null;
	const look = () => {
		if (wanted && got.length >= wanted.n) {
			wanted.resolve(got.splice(0, wanted.n));
			wanted = null;
		}
	};
	return {
		add(x) {
			got.push(x);
			look();
		},
		take(n) {
			return new Promise((resolve) => {
				wanted = { n, resolve };
				look();
			});
		},
	};
};

exports.rejects = (promise, pattern) => assert.rejects(promise, (e) => pattern.test(e.message));

exports.run = async (cases) => {
	const [name, socket] = process.argv.slice(2);
	try {
		await cases[name](socket);
		console.log('ok');
		process.exitCode = 0;
	} catch (e) {
		console.error(e);
		process.exitCode = 1;
	}
	// Whatever a client has still open must not keep a failed case from ending.
	input.close();
	process.exit();
};
