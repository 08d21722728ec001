package interop;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;

/** InterProcessSemaphoreV2 and LeaderLatch. */
final class Others {
    /** How long one turn may take; a line that stands still is a failure. */
    private static final long TURN_MAX_MS = 60_000;

    private final CuratorFramework client;
    private final Nodes nodes;
    private final Map<String, Deque<Lease>> leases = new HashMap<>();
    private final Map<String, InterProcessSemaphoreV2> semaphores = new HashMap<>();
    private final Map<String, LeaderLatch> latches = new HashMap<>();

    Others(CuratorFramework client, Nodes nodes) {
        this.client = client;
        this.nodes = nodes;
    }

    String permit(String path, int max, long limitMs) throws Exception {
        var semaphore =
                semaphores.computeIfAbsent(
                        path + " " + max, key -> new InterProcessSemaphoreV2(client, path, max));
        Lease lease = semaphore.acquire(limitMs, TimeUnit.MILLISECONDS);
        if (lease == null) {
            return "busy";
        }
        leases.computeIfAbsent(path, key -> new ArrayDeque<>()).push(lease);
        String node = path + "/leases/" + lease.getNodeName();
        return "granted " + nodes.token(node) + " " + node;
    }

    /** Gives back the newest of the permits that this task has. */
    String giveBack(String path) throws Exception {
        leases.get(path).pop().close();
        return "released";
    }

    /** Takes a permit again and again, in a room where that shows. */
    String mingle(String path, int max, String room, int rounds) throws Exception {
        var semaphore = new InterProcessSemaphoreV2(client, path, max);
        for (int round = 0; round < rounds; round++) {
            Lease lease = semaphore.acquire(TURN_MAX_MS, TimeUnit.MILLISECONDS);
            if (lease == null) {
                throw new IllegalStateException("no turn within " + TURN_MAX_MS + " ms");
            }
            nodes.rm(nodes.enter(room, "p", max));
            lease.close();
        }
        return "done " + rounds;
    }

    String latch(String path, String id) throws Exception {
        LeaderLatch latch = new LeaderLatch(client, path, id);
        latch.start();
        latches.put(path, latch);
        return "started";
    }

    String await(String path, long limitMs) throws Exception {
        LeaderLatch latch = latches.get(path);
        if (!latch.await(limitMs, TimeUnit.MILLISECONDS)) {
            return "busy";
        }
        return "granted " + nodes.token(latch.getOurPath()) + " " + latch.getOurPath();
    }

    /** Who takes part, in order of arrival; the leader with a star. */
    String participants(String path) throws Exception {
        return "participants "
                + latches.get(path).getParticipants().stream()
                        .map(one -> one.isLeader() ? "*" + one.getId() : one.getId())
                        .collect(Collectors.joining(" "));
    }

    String unlatch(String path) throws Exception {
        latches.remove(path).close();
        return "released";
    }
}
