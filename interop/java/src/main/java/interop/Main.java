package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;

/**
 * Curator's recipes behind a line protocol (../README.md): orders on standard input, answers and
 * news on standard output. It ends with its input.
 *
 * <p>Curator's locks belong to threads, so each task of the protocol is a thread of its own, and
 * tasks wait side by side.
 */
public final class Main {
    private final String servers;
    private final Voice voice = new Voice();
    private final Map<String, CuratorFramework> sessions = new HashMap<>();
    private final Map<String, Task> tasks = new HashMap<>();

    private Main(String servers) {
        this.servers = servers;
    }

    /** The one argument is the ZooKeeper to talk to, as host:port. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) {
            System.err.println("usage: Main HOST:PORT");
            System.exit(2);
        }
        new Main(arguments[0]).serve();
        // Threads may be waiting in line; what they hold ends with their sessions.
        Runtime.getRuntime().halt(0);
    }

    private void serve() throws Exception {
        var orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = orders.readLine(); line != null; line = orders.readLine()) {
            List<String> words = Arrays.asList(line.split(" "));
            String number = words.get(0);
            if (words.size() < 4) {
                voice.failed(number, "an order is NUMBER SESSION TASK VERB [ARGUMENTS]");
                continue;
            }
            obey(number, words.get(1), words.get(2), words.get(3), words.subList(4, words.size()));
        }
        for (CuratorFramework session : sessions.values()) {
            session.close();
        }
    }

    private void obey(String number, String session, String task, String verb, List<String> rest) {
        try {
            switch (verb) {
                case "open" -> voice.done(number, open(session, Integer.parseInt(rest.get(0))));
                case "close" -> voice.done(number, close(session));
                // Nothing is tidied up, as in a crash: the operating system closes the sockets.
                case "die" -> Runtime.getRuntime().halt(137);
                default -> task(session, task).order(number, verb, rest);
            }
        } catch (Exception error) {
            voice.failed(number, error.toString());
        }
    }

    private String open(String name, int timeoutMs) throws Exception {
        var client =
                CuratorFrameworkFactory.newClient(servers, timeoutMs, 10_000, new RetryOneTime(100));
        client.start();
        client.blockUntilConnected();
        sessions.put(name, client);
        var connection = client.getZookeeperClient().getZooKeeper();
        return "open 0x" + Long.toHexString(connection.getSessionId());
    }

    private String close(String name) {
        sessions.remove(name).close();
        return "closed";
    }

    private Task task(String session, String name) {
        CuratorFramework client = sessions.get(session);
        if (client == null) {
            throw new IllegalArgumentException("session " + session + " is not open");
        }
        return tasks.computeIfAbsent(
                session + "/" + name, whole -> Task.started(whole, client, voice));
    }
}
