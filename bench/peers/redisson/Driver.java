import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.redisson.Redisson;
import org.redisson.api.RLock;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

/**
 * Redisson's locks, driven by the bench: RLock, the fair lock or the fenced lock. What is said on
 * the input and the output is told in bench/src/drive/mod.rs; the words of a piece of work in
 * bench/src/compare/work.rs. Each task is a thread, on the client that the work gives it; each
 * client has one connection for commands, as the others have, and one for what it hears.
 */
public final class Driver {
    private record Work(String server, String path, int clients, int tasks, int names,
                        int rounds, int millis, int holdMicros) {
        static Work parse(String line) {
            String[] words = line.split(" ");
            return new Work(words[0], words[1], number(words[2]), number(words[3]),
                number(words[4]), number(words[5]), number(words[6]), number(words[7]));
        }

        private static int number(String word) {
            return Integer.parseInt(word);
        }
    }

    private record Hold(int task, long asked, long acquired, long releasing, long released) {
        @Override public String toString() {
            return task + " " + asked + " " + acquired + " " + releasing + " " + released;
        }
    }

    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    public static void main(String[] args) {
        PrintWriter out = new PrintWriter(System.out, false);
        try {
            talk(out, args[0]);
        } catch (Exception error) {
            out.println("failed: " + error);
            out.flush();
            System.exit(1);
        }
    }

    private static void talk(PrintWriter out, String kind) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Work work = Work.parse(line);
            List<RedissonClient> clients = open(work);
            ExecutorService threads = Executors.newFixedThreadPool(work.tasks);
            say(out, "ready");
            in.readLine();
            long before = SYSTEM.getProcessCpuTime();
            List<Hold> holds = run(work, kind, clients, threads);
            long cpu = SYSTEM.getProcessCpuTime() - before;
            holds.forEach(out::println);
            say(out, "cpu " + cpu / 1_000.0);
            in.readLine();
            threads.shutdown();
            clients.forEach(client -> client.shutdown(0, 2, TimeUnit.SECONDS));
            say(out, "closed");
        }
    }

    private static void say(PrintWriter out, String line) {
        out.println(line);
        out.flush();
    }

    private static List<RedissonClient> open(Work work) {
        List<RedissonClient> clients = new ArrayList<>();
        for (int client = 0; client < work.clients; client++) {
            Config config = new Config();
            // Each thread waits by itself; few of Redisson's own have to wake them.
            config.setThreads(2);
            config.setNettyThreads(2);
            config.useSingleServer()
                .setAddress("redis://" + work.server)
                .setConnectionPoolSize(1)
                .setConnectionMinimumIdleSize(1)
                .setSubscriptionConnectionPoolSize(1)
                .setSubscriptionConnectionMinimumIdleSize(1);
            clients.add(Redisson.create(config));
        }
        return clients;
    }

    private static RLock lockOf(String kind, RedissonClient client, String name) {
        return switch (kind) {
            case "redisson-fair" -> client.getFairLock(name);
            case "redisson-fenced" -> client.getFencedLock(name);
            default -> client.getLock(name);
        };
    }

    private static List<Hold> run(Work work, String kind, List<RedissonClient> clients,
                                  ExecutorService threads) throws Exception {
        CyclicBarrier barrier = new CyclicBarrier(work.tasks);
        List<Future<List<Hold>>> tasks = new ArrayList<>();
        for (int task = 0; task < work.tasks; task++) {
            String path = work.path + "/" + task % work.names;
            RLock lock = lockOf(kind, clients.get(task % work.clients), path);
            int number = task;
            tasks.add(threads.submit(() -> takeTurns(work, number, lock, barrier)));
        }
        List<Hold> holds = new ArrayList<>();
        for (Future<List<Hold>> task : tasks) {
            holds.addAll(task.get(50, TimeUnit.SECONDS));
        }
        return holds;
    }

    /** Below a millisecond it is busy, because a timer is not that exact. */
    private static void hold(int micros) throws InterruptedException {
        long end = System.nanoTime() + micros * 1_000L;
        if (micros >= 1_000) {
            TimeUnit.MICROSECONDS.sleep(micros);
        }
        while (micros < 1_000 && System.nanoTime() < end) {
            Thread.onSpinWait();
        }
    }

    private static List<Hold> takeTurns(Work work, int task, RLock lock,
                                        CyclicBarrier barrier) throws Exception {
        List<Hold> holds = new ArrayList<>();
        barrier.await();
        long end = System.nanoTime() + work.millis * 1_000_000L;
        for (int round = 0; ; round++) {
            if (work.rounds > 0 ? round == work.rounds : System.nanoTime() >= end) {
                return holds;
            }
            if (work.rounds > 0) {
                barrier.await();
            }
            long asked = System.nanoTime();
            lock.lock();
            long acquired = System.nanoTime();
            hold(work.holdMicros);
            long releasing = System.nanoTime();
            lock.unlock();
            holds.add(new Hold(task, asked, acquired, releasing, System.nanoTime()));
        }
    }
}
