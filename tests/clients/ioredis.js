// SPDX-License-Identifier: MIT
// ioredis - cases of the npm package "ioredis"; RESP is what its version speaks by itself.
'use strict';

const assert = require('node:assert/strict');
const Redis = require('ioredis').Redis || require('ioredis');
const { ask, collector, rejects, run } = require('./cases.js');

const RESP = Number(process.env.RESP);

const open = (path, options = {}) => {
	const client = new Redis({ path, ...options });
	client.on('error', () => {});
	return client;
};

const numbers = (n) => Array.from({ length: n }, (_, i) => i);
const values = (replies) => replies.map(([error, value]) => error || value);

run({
	async commands(path) {
		const c = open(path, { connectionName: 'io' });
		assert.equal(await c.ping(), 'PONG');
		assert.equal(await c.echo('x'), 'x');
		assert.equal(await c.client('GETNAME'), 'io');
		assert.match(await c.client('INFO'), new RegExp(`name=io .* resp=${RESP} .*lib-name=ioredis`));
		assert.match(await c.info(), /redis_version/);
		assert.ok((await c.command('COUNT')) > 20);
		assert.equal((await c.time()).length, 2);
		assert.equal(await c.call('RUN', 'p', 'echo hello'), 'hello');
		await rejects(c.call('RUN', 'p', 'err broken'), /^FAILED broken/);
		await rejects(c.call('RUN', 'nowhere', 'x'), /^NOPOOL/);
		const id = await c.call('SUBMIT', 'p', 'echo later');
		assert.equal(typeof id, 'string');
		assert.equal(await c.call('RESULT', id, 'WAIT', '1m'), 'later');
		assert.ok((await c.call('POOL', 'p')) !== null);
		await c.quit();
	},

	async bytes(path) {
		const c = open(path);
		const data = Buffer.from(numbers(256 * 400).map((i) => i % 256));
		assert.ok(data.equals(await c.callBuffer('RUN', 'f', data)));
		await c.quit();
	},

	async pipeline(path) {
		const c = open(path);
		const p = c.pipeline();
		numbers(200).forEach((i) => p.call('RUN', 'p', `sleep ${i % 3} r${i}`));
		p.call('RUN', 'p', 'err broken');
		const got = values(await p.exec());
		assert.match(got.pop().message, /^FAILED broken/);
		assert.deepEqual(got, numbers(200).map((i) => `r${i}`));
		const auto = open(path, { enableAutoPipelining: true });
		const run = (i) => auto.call('RUN', 'p', `echo ${i}`);
		assert.deepEqual(await Promise.all(numbers(100).map(run)), numbers(100).map(String));
		await auto.quit();
		await c.quit();
	},

	async multi(path) {
		const c = open(path);
		const multi = c.multi();
		numbers(50).forEach((i) => multi.call('RUN', 'p', `echo ${i}`));
		multi.ping();
		assert.deepEqual(values(await multi.exec()), [...numbers(50).map(String), 'PONG']);
		const failing = await c.multi().call('RUN', 'p', 'err broken').ping().exec();
		assert.match(failing[0][0].message, /^FAILED broken/);
		assert.equal(failing[1][1], 'PONG');
		const none = c.multi().call('SUBMIT', 'p', 'x').call('SUBMIT', 'no', 'x');
		await rejects(none.exec(), /^EXECABORT .* command 2 of 2: NOPOOL/);
		await rejects(c.multi().call('NONSENSE').ping().exec(), /^EXECABORT/);
		// Without a pipeline each command of it is its own round trip.
		await c.multi({ pipeline: false });
		assert.equal(await c.call('RUN', 'p', 'echo x'), 'QUEUED');
		assert.deepEqual(values(await c.exec()), ['x']);
		await c.quit();
	},

	async pubsub(path) {
		const c = open(path);
		const s = open(path);
		const news = collector();
		const pattern = collector();
		s.on('message', (channel, message) => news.add([channel, message]));
		s.on('pmessage', (p, channel, message) => pattern.add([p, channel, message]));
		assert.equal(await s.psubscribe('job.*'), 1);
		const id = await c.call('SUBMIT', 'p', 'echo x');
		assert.deepEqual(
			await pattern.take(3),
			['queued', 'running', 'done'].map((state) => ['job.*', `job.${id}`, state])
		);
		assert.equal(await s.subscribe(`job.${id}`), 2);
		assert.deepEqual(await news.take(1), [[`job.${id}`, 'done']]);
		assert.ok(await s.ping());
		if (RESP === 3) assert.equal(await s.call('RUN', 'p', 'echo same'), 'same');
		assert.equal(await s.unsubscribe(`job.${id}`), 1);
		assert.equal(await s.punsubscribe(), 0);
		assert.equal(await s.call('RUN', 'p', 'echo after'), 'after');
		await s.quit();
		await c.quit();
	},

	// The daemon is restarted: what was under way is sent again by itself, subscriptions too.
	async restart(path) {
		const c = open(path);
		const s = open(path);
		const news = collector();
		s.on('message', (channel, message) => news.add(message));
		await s.subscribe('worker.p');
		const again = c.call('RUN', 'p', 'KEY', 'once', `gate ${await ask('gate')}`);
		const ready = new Promise((resolve) => s.once('ready', resolve));
		await ask('running');
		assert.equal(await again, 'gate');
		await ready;
		await s.ping();
		await rejects(c.call('RUN', 'p', 'exit 3'), /^CRASHED/);
		while (!/state=down/.test(await news.take(1)));
		await s.quit();
		await c.quit();
	},
});
