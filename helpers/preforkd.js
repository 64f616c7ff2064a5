// SPDX-License-Identifier: MIT
//
// Workers of preforkd(8) in JavaScript: jobs in, answers out, at every level and channel.
//
//   const preforkd = require('./preforkd.js');
//
//   preforkd.serve(async (job) => {
//     job.progress(1, 2);
//     return job.text.toUpperCase();
//   });
//
// It can be copied to where the worker is; it needs nothing but Node.js 16. Require it first: under
// preforkd that takes the channel, and what is printed from then on goes to the log. (What writes
// to descriptor 1 by itself does not: where there is such a thing, channel = "fd3".) What is thrown
// is the job's failure, a Retry where another try may help; a result is a string, bytes or nothing.
// preforkd-worker(7) says more.
'use strict';
const net = require('net');

const LEVELS = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'];
const LF = 10, CR = 13;

class Retry extends Error {}

// The channel, from the environment, which our children, being no workers, do not get.
function take(name, otherwise) {
  const value = process.env[name] || otherwise;
  delete process.env[name];
  return value;
}
const underPreforkd = 'PREFORKD_PROTOCOL' in process.env;
const level = take('PREFORKD_PROTOCOL', 'line');
const maxResult = Number(take('PREFORKD_MAX_RESULT', Number.MAX_SAFE_INTEGER));
const fd3 = take('PREFORKD_CHANNEL', 'stdio') === 'fd3' ? new net.Socket({ fd: 3 }) : null;
const channelIn = fd3 || process.stdin;
const channelOut = fd3 || process.stdout;
const writeOut = channelOut.write.bind(channelOut);
if (underPreforkd) process.stdout.write = process.stderr.write.bind(process.stderr);

const bytes = (data) => (Buffer.isBuffer(data) ? data : Buffer.from(data));
const oneLine = (text) => bytes(String(text).split(/\s+/).filter(Boolean).join(' '));

function checked(data) {
  if (data === undefined || data === null) data = '';
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
    throw new TypeError(`a result is a string, bytes or nothing, not of type ${typeof data}`);
  }
  data = bytes(data);
  if (data.length > maxResult) throw new RangeError("the result is longer than the pool's job.max_result");
  if (level !== 'frame' && (data.includes(LF) || (level === 'line' && data[data.length - 1] === CR))) {
    throw new RangeError('the result is not one line: the pool needs protocol = "frame"');
  }
  return data;
}

// One write a message, so that those of concurrent jobs are not mixed.
function send(head, data, ...rest) {
  writeOut(data === undefined ? `${head}\n` : Buffer.concat([bytes(head), data, Buffer.of(LF)]));
}

function put(verb, id, data) {
  if (level === 'frame') send(`${verb} ${id} ${data.length}\n`, data);
  else if (level === 'line') send(`${verb} `, data);
  else if (verb === 'OK') send('', data);
  else if (verb !== 'OUT') { // a filter has no other word for it than its end
    require('fs').writeSync(2, `${data}\n`);
    process.exit(1);
  }
}

function log(text, severity = 'info') {
  const number = typeof severity === 'number' ? severity : LEVELS.indexOf(severity);
  if (!(Number.isInteger(number) && number >= 0 && number <= 7)) throw new RangeError(`no such level: ${severity}`);
  for (const line of String(text).split(/[\r\n]+/)) {
    if (level === 'frame') send(`LOG ${number} ${Buffer.byteLength(line)}\n`, bytes(line));
    else if (level === 'line') send(`LOG <${number}>${line}`);
    else process.stderr.write(`<${number}>${line}\n`);
  }
}

// payload: a Buffer; text: the same as a string; id and attempt: at frame. signal (an AbortSignal)
// and cancelled: it has been given up, and is to be answered all the same.
class Job {
  #abort = new AbortController();
  answered = false;

  constructor(payload, id, attempt) {
    Object.assign(this, { payload, id, attempt });
  }
  get text() { return this.payload.toString(); }
  get signal() { return this.#abort.signal; }
  get cancelled() { return this.#abort.signal.aborted; }
  cancel() { this.#abort.abort(); }

  ok(result) { this.#answer('OK', checked(result)); }
  err(message) { this.#answer('ERR', oneLine(message)); }
  retry(message) { this.#answer('RETRY', oneLine(message)); }
  out(data) { put('OUT', this.id, checked(data)); }
  progress(done, total, text = '') {
    if (![done, total].every((n) => Number.isSafeInteger(n) && n >= 0)) {
      throw new RangeError('progress is two whole numbers');
    }
    if (level === 'frame') send(`PROGRESS ${this.id} ${done} ${total}`);
    else if (level === 'line') send(`PROGRESS ${done} ${total} `, oneLine(text));
  }
  #answer(verb, data) {
    if (this.answered) throw new Error('the job has been answered already');
    this.answered = true;
    put(verb, this.id, data);
  }
}

// Cuts what comes into jobs and cancels. It looks again only when what it waits for may be there.
class Reader {
  #parts = [];
  #have = 0;
  #need = 0; // bytes; 0: a line feed

  constructor(onJob, onCancel) { Object.assign(this, { onJob, onCancel }); }

  add(part) {
    this.#parts.push(part);
    this.#have += part.length;
    if (this.#need ? this.#have < this.#need : !part.includes(LF)) return;
    let data = Buffer.concat(this.#parts);
    for (let used; (used = this.#message(data)) > 0;) data = data.subarray(used);
    this.#parts = [data];
    this.#have = data.length;
  }
  // How many bytes the message at the head of data has; 0: it is not all there.
  #message(data) {
    this.#need = 0;
    const end = data.indexOf(LF);
    if (end < 0) return 0;
    if (level !== 'frame') {
      this.onJob(new Job(Buffer.from(data.subarray(0, end))));
      return end + 1;
    }
    const [verb, id, attempt, length] = data.subarray(0, end).toString().split(' ');
    if (verb === 'CANCEL') {
      this.onCancel(id);
      return end + 1;
    }
    const body = end + 1, next = body + Number(length) + 1;
    if (data.length < next) {
      this.#need = next;
      return 0;
    }
    this.onJob(new Job(Buffer.from(data.subarray(body, next - 1)), id, Number(attempt)));
    return next;
  }
}

async function run(work, job) {
  try {
    const result = await work(job);
    if (!job.answered) job.ok(result);
  } catch (why) {
    // That a cancelled one went wrong is no news.
    if (!(why instanceof Retry) && !job.cancelled) console.error(why);
    if (job.answered) return;
    if (why instanceof Retry) job.retry(why.message);
    else job.err(why instanceof Error ? `${why.name}: ${why.message}` : why);
  }
}

// Answer each job with what work(job) returns or promises. The promise is kept when no more jobs
// come and all are answered. At frame, jobs is how many are worked on at once.
function serve(work, { jobs = 1 } = {}) {
  const known = new Map(); // by id, until they are answered
  const waiting = [];
  const most = level === 'frame' ? jobs : 1;
  let running = 0, ended = false, resolve;

  function next() {
    while (running < most && waiting.length) {
      const job = waiting.shift();
      running++;
      run(work, job).then(() => {
        running--;
        known.delete(job.id);
        next();
      });
    }
    if (ended && !running && !waiting.length) {
      if (fd3) fd3.end();
      resolve();
    }
  }
  const reader = new Reader((job) => {
    if (level === 'frame') known.set(job.id, job);
    waiting.push(job);
  }, (id) => known.has(id) && known.get(id).cancel());

  channelIn.on('data', (part) => { reader.add(part); next(); });
  channelIn.on('end', () => { ended = true; next(); });
  if (level !== 'filter') send(level === 'frame' ? `READY ${jobs}` : 'READY');
  return new Promise((keep) => { resolve = keep; });
}

module.exports = { serve, log, Retry, level };
