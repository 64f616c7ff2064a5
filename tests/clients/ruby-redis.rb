# SPDX-License-Identifier: MIT
# ruby-redis - cases of the gem "redis": NAME SOCKET.
require 'redis'

def check(got, want)
  raise "got #{got.inspect}, not #{want.inspect}" unless want === got
end

def fails(pattern)
  yield
rescue Redis::CommandError => e
  check e.message, pattern
else
  raise "no error, but #{pattern.inspect} was to come"
end

def commands(r)
  check r.ping, 'PONG'
  check r.echo('x'), 'x'
  check r.call('RUN', 'p', 'echo hello'), 'hello'
  fails(/\AFAILED broken/) { r.call('RUN', 'p', 'err broken') }
  fails(/\ANOPOOL/) { r.call('RUN', 'nowhere', 'x') }
  id = r.call('SUBMIT', 'p', 'echo later')
  check r.call('RESULT', id, 'WAIT', '1m'), 'later'
  bytes = (0..255).to_a.pack('C*') * 300
  check r.call('RUN', 'f', bytes).b, bytes
  check r.client('SETNAME', 'ruby'), 'OK'
  check r.client(:list).map { |c| c['name'] }, ->(names) { names.include?('ruby') }
  check r.info['redis_version'], /\A7/
  check r.time[0], Integer
  check r.select(0), 'OK'
  fails(/\AERR DB index is out of range/) { r.select(1) }
end

def pipelined(r)
  got = r.pipelined { |p| 200.times { |i| p.call('RUN', 'p', "sleep #{i % 3} r#{i}") } }
  check got, (0...200).map { |i| "r#{i}" }
end

def multi(r)
  got = r.multi do |m|
    50.times { |i| m.call('RUN', 'p', "echo #{i}") }
    m.ping
  end
  check got, (0...50).map(&:to_s) + ['PONG']
  fails(/\AFAILED broken/) { r.multi { |m| m.call('RUN', 'p', 'err broken') } }
  fails(/command 2 of 2: NOPOOL/) do
    r.multi do |m|
      m.call('SUBMIT', 'p', 'x')
      m.call('SUBMIT', 'no', 'x')
    end
  end
  check r.ping, 'PONG'
end

def subscribe(r)
  id = r.call('SUBMIT', 'p', 'echo x')
  check r.call('RESULT', id, 'WAIT', '1m'), 'x'
  seen = []
  r.subscribe("job.#{id}") do |on|
    on.subscribe { |channel, n| seen << [:subscribed, channel, n] }
    on.message do |channel, message|
      seen << [:message, channel, message]
      r.unsubscribe
    end
    on.unsubscribe { |channel, n| seen << [:unsubscribed, channel, n] }
  end
  channel = "job.#{id}"
  check seen, [[:subscribed, channel, 1], [:message, channel, 'done'], [:unsubscribed, channel, 0]]
  check r.call('RUN', 'p', 'echo after'), 'after'
end

def psubscribe(r)
  other = r.dup
  states = []
  r.psubscribe('job.*') do |on|
    on.psubscribe { other.call('SUBMIT', 'p', 'echo x') }
    on.pmessage do |_pattern, _channel, message|
      states << message
      r.punsubscribe if message == 'done'
    end
  end
  check states, %w[queued running done]
end

# Its limit passes twice, on two connections: the job of $JOB takes longer.
def timeouts(r)
  r.call('RUN', 'p', 'KEY', 'once', ENV['JOB'])
rescue Redis::TimeoutError
  check r.ping, 'PONG'
else
  raise 'it did not time out'
end

name, socket = ARGV
cases = %w[commands pipelined multi subscribe psubscribe timeouts]
raise "no case #{name}" unless cases.include?(name)

send(name, Redis.new(path: socket, timeout: name == 'timeouts' ? 0.2 : 20))
puts 'ok'
