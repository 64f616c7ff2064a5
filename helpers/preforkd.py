# SPDX-License-Identifier: MIT
"""Workers of preforkd(8) in Python: jobs in, answers out, at every level and channel.

    import preforkd

    def work(job):
        job.progress(1, 2)
        return job.text.upper()

    preforkd.serve(work)

It can be copied to where the worker is; it needs nothing but Python 3.7. Import it first:
under preforkd the import takes the channel, and what is printed from then on goes to the log.
An exception is the job's failure, raise Retry where another try may help; a result is str,
bytes or None. preforkd-worker(7) says more.
"""
import os
import select
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


class Retry(Exception):
    """The job failed for now."""


class Job:
    """payload: bytes; text: the same as str; id and attempt: numbers at frame, else None."""

    def __init__(self, channel, payload, job_id=None, attempt=None):
        self.payload, self.id, self.attempt = payload, job_id, attempt
        self.answered, self._channel, self._cancelled = False, channel, False

    @property
    def text(self):
        return self.payload.decode("utf-8", "surrogateescape")

    @property
    def cancelled(self):
        """Has it been given up? It is to be answered all the same. (Only frame can say so.)"""
        self._channel.look()
        return self._cancelled

    def ok(self, result=None):
        self._answer("OK", self._channel.check(result))

    def err(self, message):
        self._answer("ERR", _one_line(message))

    def retry(self, message):
        self._answer("RETRY", _one_line(message))

    def out(self, data):
        """Partial output, for those who follow the job."""
        self._channel.put("OUT", self.id, self._channel.check(data))

    def progress(self, done, total, text=""):
        if not (0 <= done < 1 << 63 and 0 <= total < 1 << 63):
            raise ValueError("progress is two numbers from 0 to 2**63 - 1")
        self._channel.progress(self.id, int(done), int(total), _one_line(text))

    def _answer(self, verb, data):
        if self.answered:
            raise RuntimeError("the job has been answered already")
        self.answered = True
        self._channel.known.pop(self.id, None)
        self._channel.put(verb, self.id, data)


def _one_line(text):
    return " ".join(str(text).split()).encode("utf-8", "surrogateescape")


class _Channel:
    """The descriptors are moved up, and what is left in their place is harmless."""

    def __init__(self):
        self.level = os.environ.pop("PREFORKD_PROTOCOL", "line")  # our children are no workers
        self.max_result = int(os.environ.pop("PREFORKD_MAX_RESULT", 1 << 62))
        fd3 = os.environ.pop("PREFORKD_CHANNEL", "stdio") == "fd3"
        self.fd_in, self.fd_out = os.dup(3 if fd3 else 0), os.dup(3 if fd3 else 1)
        if fd3:
            os.close(3)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        self.buffer, self.eof, self.lock = bytearray(), False, threading.Lock()
        self.waiting, self.known = [], {}  # read and not begun; by id, until they are answered
        self.alone = True  # nobody else reads

    def check(self, data):
        if isinstance(data, str) or data is None:
            data = (data or "").encode("utf-8", "surrogateescape")
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError("a result is str, bytes or None, not %s" % type(data).__name__)
        if len(data) > self.max_result:
            raise ValueError("the result is longer than the pool's job.max_result")
        if self.level != "frame" and (b"\n" in data or self.level == "line" and data[-1:] == b"\r"):
            raise ValueError('the result is not one line: the pool needs protocol = "frame"')
        return bytes(data)

    def put(self, verb, job_id, data):
        if self.level == "frame":
            self.write(b"%s %d %d\n%s" % (verb.encode(), job_id, len(data), data))
        elif self.level == "line":
            self.write(verb.encode() + b" " + data)
        elif verb == "OK":
            self.write(data)
        elif verb != "OUT":  # a filter has no other word for it than its end
            os.write(2, data + b"\n")
            os._exit(1)

    def progress(self, job_id, done, total, text):
        if self.level == "frame":
            self.write(b"PROGRESS %d %d %d" % (job_id, done, total))
        elif self.level == "line":
            self.write(b"PROGRESS %d %d %s" % (done, total, text))

    def write(self, message):
        message += b"\n"
        with self.lock:
            while message:
                message = message[os.write(self.fd_out, message):]

    def look(self):
        """Read what there is, unless another thread is at it."""
        while self.alone and self.level == "frame" and not self.eof:
            if not select.select([self.fd_in], [], [], 0)[0]:
                return
            self.read()

    def read(self):
        data = os.read(self.fd_in, 1 << 18)
        self.eof = not data
        self.buffer += data
        while self.take_frame() if self.level == "frame" else self.take_line():
            pass

    def cut(self, end):
        """Take the bytes up to end, and drop the line feed there."""
        data = bytes(self.buffer[:end])
        del self.buffer[:end + 1]
        return data

    def take_line(self):
        end = self.buffer.find(b"\n")
        if end >= 0:
            self.waiting.append(Job(self, self.cut(end)))
        return end >= 0

    def take_frame(self):
        end = self.buffer.find(b"\n")
        words = bytes(self.buffer[:max(end, 0)]).split()
        if not words:
            return False
        job_id = int(words[1])
        if words[0] == b"CANCEL":
            self.cut(end)
            if job_id in self.known:
                self.known[job_id]._cancelled = True
            return True
        length = int(words[3])  # JOB id attempt len
        if len(self.buffer) < end + 1 + length + 1:
            return False
        self.cut(end)
        self.known[job_id] = Job(self, self.cut(length), job_id, int(words[2]))
        self.waiting.append(self.known[job_id])
        return True

    def jobs(self):
        while True:
            while not self.waiting and not self.eof:
                self.read()
            if not self.waiting:
                return
            yield self.waiting.pop(0)


_channel = _Channel() if "PREFORKD_PROTOCOL" in os.environ else None


def _open(capacity):
    global _channel
    if _channel is None:  # tried by hand
        _channel = _Channel()
    if _channel.level != "filter":
        _channel.write(b"READY %d" % capacity if _channel.level == "frame" else b"READY")
    return _channel


def log(text, level="info"):
    """A log line; level is a number from 0 to 7, or a word."""
    level = LEVELS.index(level) if isinstance(level, str) else int(level)
    for line in str(text).splitlines():
        line = line.encode("utf-8", "surrogateescape")
        if _channel is None or _channel.level == "filter":
            os.write(2, b"<%d>%s\n" % (level, line))
        elif _channel.level == "frame":
            _channel.write(b"LOG %d %d\n%s" % (level, len(line), line))
        else:
            _channel.write(b"LOG <%d>%s" % (level, line))


def jobs():
    """The jobs, one after the other; each is to be answered by its ok(), err() or retry()."""
    for job in _open(1).jobs():
        yield job
        if not job.answered:
            raise RuntimeError("a job was left without an answer")


def _run(work, job):
    try:
        result = work(job)
        if not job.answered:
            job.ok(result)
    except Retry as why:
        job.retry(why)
    except Exception as why:
        if not job._cancelled:  # else it is no news that it went wrong
            traceback.print_exc()
        if not job.answered:
            job.err("%s: %s" % (type(why).__name__, why))


def _run_in_thread(work, job):
    try:
        _run(work, job)
    except BaseException:  # sys.exit(), say: a thread's end alone would leave the job unanswered
        try:
            traceback.print_exc()
        finally:  # even where there is nothing to print to
            os._exit(1)


def serve(work, jobs=1):
    """Answer each job with what work(job) returns, until there are no more.

    At frame, jobs is how many are worked on at once, by as many threads.
    """
    channel = _open(jobs)
    if jobs == 1 or channel.level != "frame":
        for job in channel.jobs():
            _run(work, job)
        return
    channel.alone = False
    with ThreadPoolExecutor(jobs) as threads:
        for job in channel.jobs():
            threads.submit(_run_in_thread, work, job)
