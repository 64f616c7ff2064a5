// SPDX-License-Identifier: MIT
// node-redis - cases of the npm package "redis"; RESP is what its version speaks by itself.
'use strict';

const assert = require('node:assert/strict');
const { createClient, RESP_TYPES } = require('redis');
const { ask, collector, rejects, run } = require('./cases.js');

const RESP = Number(process.env.RESP);

const open = async (path, options = {}) => {
	const client = createClient({ socket: { path }, ...options });
	client.on('error', () => {}); // without a listener a lost connection ends the program
	await client.connect();
	return client;
};

const numbers = (n) => Array.from({ length: n }, (_, i) => i);

run({
	async commands(path) {
		const c = await open(path, { name: 'node' });
		assert.equal(await c.ping(), 'PONG');
		assert.equal(await c.echo('x'), 'x');
		assert.equal(await c.clientGetName(), 'node');
		assert.ok((await c.clientId()) > 0);
		assert.ok((await c.clientList()).some((x) => x.name === 'node'));
		assert.match(await c.sendCommand(['CLIENT', 'INFO']), new RegExp(`resp=${RESP}`));
		assert.match(await c.info(), /redis_version/);
		assert.ok((await c.commandCount()) > 20);
		assert.ok((await c.time()) !== null);
		assert.equal(await c.sendCommand(['RUN', 'p', 'echo hello']), 'hello');
		await rejects(c.sendCommand(['RUN', 'p', 'err broken']), /^FAILED broken/);
		await rejects(c.sendCommand(['RUN', 'nowhere', 'x']), /^NOPOOL/);
		await rejects(c.sendCommand(['RUN', 'p', 'exit 1']), /^CRASHED/);
		const id = await c.sendCommand(['SUBMIT', 'p', 'echo later']);
		assert.equal(typeof id, 'string');
		assert.equal(await c.sendCommand(['RESULT', id, 'WAIT', '1m']), 'later');
		const pool = await c.sendCommand(['POOL', 'p']);
		assert.equal(RESP === 3 ? pool.state : pool[pool.indexOf('state') + 1], 'ok');
		await c.close();
	},

	async bytes(path) {
		const c = await open(path);
		const data = Buffer.from(numbers(256 * 400).map((i) => i % 256));
		const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer };
		assert.ok(data.equals(await c.sendCommand(['RUN', 'f', data], { typeMapping })));
		await c.close();
	},

	// What is sent in one turn of the event loop is one pipeline.
	async pipeline(path) {
		const c = await open(path);
		const run = (i) => c.sendCommand(['RUN', 'p', `sleep ${i % 3} r${i}`]);
		assert.deepEqual(
			await Promise.all(numbers(200).map(run)),
			numbers(200).map((i) => `r${i}`)
		);
		await c.close();
	},

	async multi(path) {
		const c = await open(path);
		const multi = c.multi();
		numbers(50).forEach((i) => multi.addCommand(['RUN', 'p', `echo ${i}`]));
		multi.ping();
		assert.deepEqual(await multi.exec(), [...numbers(50).map(String), 'PONG']);
		const piped = c.multi().addCommand(['RUN', 'p', 'echo a']).ping();
		assert.deepEqual(await piped.execAsPipeline(), ['a', 'PONG']);
		const failing = c.multi().addCommand(['RUN', 'p', 'err broken']).ping();
		const e = await failing.exec().then(assert.fail, (error) => error);
		assert.match(e.replies[0].message, /^FAILED broken/);
		assert.equal(e.replies[1], 'PONG');
		const none = c.multi().addCommand(['SUBMIT', 'p', 'x']).addCommand(['SUBMIT', 'no', 'x']);
		await rejects(none.exec(), /^EXECABORT .* command 2 of 2: NOPOOL/);
		const unknown = c.multi().addCommand(['NONSENSE']).ping();
		await rejects(unknown.exec(), /NONSENSE|EXECABORT/);
		assert.equal(await c.ping(), 'PONG');
		await c.close();
	},

	async pubsub(path) {
		const c = await open(path);
		const s = await open(path);
		const news = collector();
		const pattern = collector();
		await s.pSubscribe('job.*', (message, channel) => pattern.add([channel, message]));
		const id = await c.sendCommand(['SUBMIT', 'p', 'echo x']);
		assert.deepEqual(await pattern.take(3), [
			[`job.${id}`, 'queued'],
			[`job.${id}`, 'running'],
			[`job.${id}`, 'done'],
		]);
		await s.subscribe(`job.${id}`, (message) => news.add(message));
		assert.deepEqual(await news.take(1), ['done']);
		if (RESP === 3) assert.equal(await s.sendCommand(['RUN', 'p', 'echo same']), 'same');
		assert.match(await s.ping(), /^pong$/i); // small in RESP2, among messages
		await s.unsubscribe(`job.${id}`);
		await s.pUnsubscribe('job.*');
		// Version 5 gives a Buffer here.
		assert.equal(String(await s.sendCommand(['RUN', 'p', 'echo after'])), 'after');
		await s.close();
		await c.close();
	},

	// The daemon is restarted: what was under way is an error, what comes then goes on.
	async restart(path) {
		const c = await open(path);
		const s = await open(path);
		const news = collector();
		await s.subscribe('worker.p', (message) => news.add(message));
		const lost = c.sendCommand(['RUN', 'p', 'hang']).then(assert.fail, (e) => e);
		const ready = new Promise((resolve) => s.once('ready', resolve));
		await ask('running');
		assert.ok((await lost) instanceof Error);
		assert.equal(await c.sendCommand(['RUN', 'p', 'echo again']), 'again');
		await ready;
		await s.ping();
		await rejects(c.sendCommand(['RUN', 'p', 'exit 3']), /^CRASHED/);
		while (!/state=down/.test(await news.take(1)));
		await s.close();
		await c.close();
	},
});
