package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.curator.framework.CuratorFramework;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.NoNodeException;
import org.apache.zookeeper.data.Stat;

/** Plain nodes: what tests look at, and the counter that the locks protect. */
final class Nodes {
    private final CuratorFramework client;

    Nodes(CuratorFramework client) {
        this.client = client;
    }

    /** The fencing token that every client can see: the transaction that created the lock's node. */
    long token(String path) throws Exception {
        Stat stat = client.checkExists().forPath(path);
        if (stat == null) {
            throw new IllegalStateException("the own node " + path + " is gone");
        }
        return stat.getCzxid();
    }

    /** A persistent node and its parents. A container would go when a test pauses. */
    String mkdir(String path) throws Exception {
        if (client.checkExists().forPath(path) == null) {
            client.create().creatingParentsIfNeeded().forPath(path, new byte[0]);
        }
        return "made";
    }

    String put(String path, String text) throws Exception {
        client.setData().forPath(path, text.getBytes(StandardCharsets.UTF_8));
        return "put";
    }

    String get(String path) throws Exception {
        return "data " + text(path);
    }

    String ls(String path) throws Exception {
        try {
            return "children " + String.join(" ", client.getChildren().forPath(path));
        } catch (NoNodeException none) {
            return "children ";
        }
    }

    String rm(String path) throws Exception {
        client.delete().forPath(path);
        return "removed";
    }

    /**
     * Adds one to a counter in the way that loses increments where two hold the lock: read, then
     * write without asking for the version. Beside the count stands the token of the last holder.
     * False if the goal was reached already.
     */
    boolean increment(String counter, int goal, String ownNode) throws Exception {
        long token = token(ownNode);
        String[] last = text(counter).split(" ");
        int count = Integer.parseInt(last[0]);
        long lastToken = Long.parseLong(last[1]);
        if (token <= lastToken) {
            throw new IllegalStateException("token " + token + " after " + lastToken);
        }
        if (count >= goal) {
            return false;
        }
        put(counter, (count + 1) + " " + token);
        return true;
    }

    /**
     * Steps into a room in which a holder shows itself while it holds: a reader as "r", a writer as
     * "w", somebody with a permit as "p". Fails if those who are there may not be there together.
     * The list is not old: the own node was made after all that was done before the grant.
     */
    String enter(String room, String role, int permits) throws Exception {
        String own =
                client.create()
                        .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                        .forPath(room + "/" + role, new byte[0]);
        List<String> inside = client.getChildren().forPath(room);
        long writers = inside.stream().filter(name -> name.startsWith("w")).count();
        boolean isCrowded = role.equals("p") && inside.size() > permits;
        if (isCrowded || (writers > 0 && inside.size() > 1)) {
            throw new IllegalStateException("together in " + room + ": " + inside);
        }
        return own;
    }

    private String text(String path) throws Exception {
        return new String(client.getData().forPath(path), StandardCharsets.UTF_8);
    }
}
