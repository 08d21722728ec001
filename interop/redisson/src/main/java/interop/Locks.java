package interop;

import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.redisson.api.RBucket;
import org.redisson.api.RFencedLock;
import org.redisson.api.RLock;
import org.redisson.api.RSet;
import org.redisson.api.RedissonClient;

/**
 * Redisson's locks as kinds: {@code lock} (RLock), {@code fenced} (RFencedLock), {@code fair} (the
 * fair lock), {@code read} and {@code write} (the halves of RReadWriteLock).
 */
final class Locks {
    /** Instead of a lease: the watchdog prolongs what is held until it is given back. */
    static final long WATCHDOG = -1;

    /** How long one turn of a stress may take; a lock that nobody gets is a failure. */
    private static final long TURN_MAX_MS = 60_000;

    /** Said where a lock has no token. */
    private static final long NO_TOKEN = 0;

    private final RedissonClient client;

    Locks(RedissonClient client) {
        this.client = client;
    }

    String lock(String kind, String name, long limitMs, long leaseMs) throws Exception {
        Long token = take(kind, name, limitMs, leaseMs);
        if (token == null) {
            return "busy";
        }
        String owner = client.getId() + ":" + Thread.currentThread().getId();
        return "granted " + token + " " + owner;
    }

    String unlock(String kind, String name) {
        made(kind, name).unlock();
        return "released";
    }

    /** Takes the lock again and again until the counter it protects has reached the goal. */
    String stress(String kind, String name, String counter, int goal) throws Exception {
        for (int own = 0; ; own++) {
            long token = turn(kind, name);
            boolean goesOn;
            try {
                goesOn = increment(counter, goal, token);
            } finally {
                unlock(kind, name);
            }
            if (!goesOn) {
                return "done " + own;
            }
        }
    }

    /** Reads or writes again and again, in a room where that shows. */
    String mingle(String kind, String name, String room, int rounds) throws Exception {
        String role = kind.equals("read") ? "r" : "w";
        RSet<String> inside = client.getSet(room);
        for (int round = 0; round < rounds; round++) {
            turn(kind, name);
            String own = role + UUID.randomUUID();
            inside.add(own);
            // Not old: the own entry was made after all that was done before the grant.
            Set<String> all = inside.readAll();
            if (all.size() > 1 && all.stream().anyMatch(one -> one.startsWith("w"))) {
                throw new IllegalStateException("together in " + room + ": " + all);
            }
            inside.remove(own);
            unlock(kind, name);
        }
        return "done " + rounds;
    }

    /** What is granted: its token, {@link #NO_TOKEN}, or null if somebody else had it. */
    private Long take(String kind, String name, long limitMs, long leaseMs) throws Exception {
        RLock lock = made(kind, name);
        TimeUnit unit = TimeUnit.MILLISECONDS;
        if (lock instanceof RFencedLock fenced) {
            return fenced.tryLockAndGetToken(limitMs, leaseMs, unit);
        }
        return lock.tryLock(limitMs, leaseMs, unit) ? NO_TOKEN : null;
    }

    private long turn(String kind, String name) throws Exception {
        Long token = take(kind, name, TURN_MAX_MS, WATCHDOG);
        if (token == null) {
            throw new IllegalStateException("no turn within " + TURN_MAX_MS + " ms");
        }
        return token;
    }

    /**
     * Adds one to a counter in the way that loses increments where two hold the lock: read, then
     * write. Beside the count stands the newest token that a holder with a token has shown. False
     * if the goal was reached already.
     */
    private boolean increment(String counter, int goal, long token) {
        RBucket<String> bucket = client.getBucket(counter);
        String[] words = bucket.get().split(" ");
        long count = Long.parseLong(words[0]);
        long last = Long.parseLong(words[1]);
        if (token != NO_TOKEN && token <= last) {
            throw new IllegalStateException("token " + token + " after " + last);
        }
        if (count >= goal) {
            return false;
        }
        bucket.set((count + 1) + " " + Math.max(token, last));
        return true;
    }

    private RLock made(String kind, String name) {
        return switch (kind) {
            case "lock" -> client.getLock(name);
            case "fenced" -> client.getFencedLock(name);
            case "fair" -> client.getFairLock(name);
            case "read" -> client.getReadWriteLock(name).readLock();
            case "write" -> client.getReadWriteLock(name).writeLock();
            default -> throw new IllegalArgumentException("there is no kind of lock " + kind);
        };
    }
}
