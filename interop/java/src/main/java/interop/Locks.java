package interop;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.Revoker;

/**
 * InterProcessMutex, and the two halves of InterProcessReadWriteLock, as kinds: {@code mutex},
 * {@code revocable} (a mutex that tells when it is asked for), {@code read}, {@code write}.
 */
final class Locks {
    /** How long one turn of a stress may take; a line that stands still is a failure. */
    private static final long TURN_MAX_MS = 60_000;

    private final String task;
    private final CuratorFramework client;
    private final Nodes nodes;
    private final Voice voice;
    private final Map<String, Held> known = new HashMap<>();
    private final Map<String, InterProcessReadWriteLock> pairs = new HashMap<>();

    Locks(String task, CuratorFramework client, Nodes nodes, Voice voice) {
        this.task = task;
        this.client = client;
        this.nodes = nodes;
        this.voice = voice;
    }

    String lock(String kind, String path, long limitMs) throws Exception {
        Held held = held(kind, path);
        if (!held.mutex.acquire(limitMs, TimeUnit.MILLISECONDS)) {
            return "busy";
        }
        String node = held.node.path();
        return "granted " + nodes.token(node) + " " + node;
    }

    String unlock(String kind, String path) throws Exception {
        held(kind, path).mutex.release();
        return "released";
    }

    /** Takes the lock again and again until the counter it protects has reached the goal. */
    String stress(String kind, String path, String counter, int goal) throws Exception {
        Held held = held(kind, path);
        for (int own = 0; ; own++) {
            if (!held.mutex.acquire(TURN_MAX_MS, TimeUnit.MILLISECONDS)) {
                throw new IllegalStateException("no turn within " + TURN_MAX_MS + " ms");
            }
            boolean goesOn;
            try {
                goesOn = nodes.increment(counter, goal, held.node.path());
            } finally {
                held.mutex.release();
            }
            if (!goesOn) {
                return "done " + own;
            }
        }
    }

    /**
     * Reads, or writes, or writes and goes on as a reader, again and again, in a room where that
     * shows.
     */
    String mingle(String kind, String path, String room, int rounds) throws Exception {
        InterProcessReadWriteLock pair = pair(path);
        for (int round = 0; round < rounds; round++) {
            boolean isReader = kind.equals("read");
            InterProcessMutex first = isReader ? pair.readLock() : pair.writeLock();
            if (!first.acquire(TURN_MAX_MS, TimeUnit.MILLISECONDS)) {
                throw new IllegalStateException("no turn within " + TURN_MAX_MS + " ms");
            }
            String node = nodes.enter(room, isReader ? "r" : "w", 0);
            nodes.rm(node);
            if (kind.equals("downgrade")) {
                pair.readLock().acquire();
                first.release();
                nodes.rm(nodes.enter(room, "r", 0));
                pair.readLock().release();
            } else {
                first.release();
            }
        }
        return "done " + rounds;
    }

    /** Asks the holder with this node to let go. */
    String revoke(String node) throws Exception {
        Revoker.attemptRevoke(client, node);
        return "asked";
    }

    private Held held(String kind, String path) {
        return known.computeIfAbsent(kind + " " + path, key -> made(kind, path));
    }

    private Held made(String kind, String path) {
        switch (kind) {
            case "mutex", "revocable" -> {
                Mutex mutex = new Mutex(client, path);
                if (kind.equals("revocable")) {
                    mutex.makeRevocable(asked -> voice.news(task + " asked " + path));
                }
                return new Held(mutex, mutex::path);
            }
            case "read" -> {
                var read = pair(path).readLock();
                return new Held(read, () -> ownNode(path, "__READ__"));
            }
            case "write" -> {
                var write = pair(path).writeLock();
                return new Held(write, write::getLockPath);
            }
            default -> throw new IllegalArgumentException("there is no kind of lock " + kind);
        }
    }

    /** Both halves of one object: only then may a writer read, as well. */
    private InterProcessReadWriteLock pair(String path) {
        return pairs.computeIfAbsent(path, key -> new InterProcessReadWriteLock(client, path));
    }

    /** A read lock keeps its path to itself: the newest node of this session is it. */
    private String ownNode(String path, String marker) throws Exception {
        long session = client.getZookeeperClient().getZooKeeper().getSessionId();
        String newest = null;
        long newestAt = 0;
        for (String child : client.getChildren().forPath(path)) {
            var stat = client.checkExists().forPath(path + "/" + child);
            boolean isOwn = stat != null && stat.getEphemeralOwner() == session;
            if (child.contains(marker) && isOwn && stat.getCzxid() > newestAt) {
                newest = path + "/" + child;
                newestAt = stat.getCzxid();
            }
        }
        if (newest == null) {
            throw new IllegalStateException("no node of the own session at " + path);
        }
        return newest;
    }

    private interface OwnNode {
        String path() throws Exception;
    }

    private record Held(InterProcessMutex mutex, OwnNode node) {}

    /** Tells the path of its node, which Curator shows to subclasses only. */
    private static final class Mutex extends InterProcessMutex {
        Mutex(CuratorFramework client, String path) {
            super(client, path);
        }

        String path() {
            return getLockPath();
        }
    }
}
