package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.redisson.Redisson;
import org.redisson.api.RedissonClient;
import org.redisson.client.codec.StringCodec;
import org.redisson.config.Config;

/**
 * Redisson's locks behind a line protocol (../README.md): orders on standard input, answers on
 * standard output. It ends with its input.
 *
 * <p>Redisson's locks belong to threads, so each seat of the protocol is a thread of its own, and
 * seats wait side by side. A session is a Redisson of its own, so that its owners have an id of
 * their own.
 */
public final class Main {
    private final String server;
    private final Voice voice = new Voice();
    private final Map<String, RedissonClient> sessions = new HashMap<>();
    private final Map<String, Seat> seats = new HashMap<>();

    private Main(String server) {
        this.server = server;
    }

    /** The one argument is the Redis to talk to, as host:port. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) {
            System.err.println("usage: Main HOST:PORT");
            System.exit(2);
        }
        new Main(arguments[0]).serve();
        // Threads may be waiting; what they hold ends with its time to live.
        Runtime.getRuntime().halt(0);
    }

    private void serve() throws Exception {
        var orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = orders.readLine(); line != null; line = orders.readLine()) {
            List<String> words = Arrays.asList(line.split(" "));
            String number = words.get(0);
            if (words.size() < 4) {
                voice.failed(number, "an order is NUMBER SESSION SEAT VERB [ARGUMENTS]");
                continue;
            }
            obey(number, words.get(1), words.get(2), words.get(3), words.subList(4, words.size()));
        }
    }

    private void obey(String number, String session, String seat, String verb, List<String> rest) {
        try {
            switch (verb) {
                case "open" -> voice.done(number, open(session, Long.parseLong(rest.get(0))));
                case "close" -> voice.done(number, close(session));
                // Nothing is tidied up, as in a crash: the operating system closes the sockets.
                case "die" -> Runtime.getRuntime().halt(137);
                default -> seat(session, seat).order(number, verb, rest);
            }
        } catch (Exception error) {
            voice.failed(number, error.toString());
        }
    }

    /** The watchdog keeps what is held for this long, and prolongs it every third of it. */
    private String open(String name, long watchdogMs) {
        var config = new Config();
        config.setCodec(StringCodec.INSTANCE);
        config.setLockWatchdogTimeout(watchdogMs);
        // Small: the machine is shared with the server and the other clients.
        config.setThreads(4).setNettyThreads(4);
        config.useSingleServer()
                .setAddress("redis://" + server)
                .setConnectionPoolSize(16)
                .setConnectionMinimumIdleSize(4);
        RedissonClient client = Redisson.create(config);
        sessions.put(name, client);
        return "open " + client.getId();
    }

    private String close(String name) {
        sessions.remove(name).shutdown();
        return "closed";
    }

    private Seat seat(String session, String name) {
        RedissonClient client = sessions.get(session);
        if (client == null) {
            throw new IllegalArgumentException("session " + session + " is not open");
        }
        return seats.computeIfAbsent(
                session + "/" + name, whole -> Seat.started(whole, client, voice));
    }
}
