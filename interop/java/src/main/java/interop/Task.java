package interop;

import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.curator.framework.CuratorFramework;

/** A thread that carries out its orders one after the other. */
final class Task implements Runnable {
    private record Order(String number, String verb, List<String> rest) {}

    private final BlockingQueue<Order> orders = new LinkedBlockingQueue<>();
    private final Voice voice;
    private final Locks locks;
    private final Others others;
    private final Nodes nodes;

    private Task(String name, CuratorFramework client, Voice voice) {
        this.voice = voice;
        nodes = new Nodes(client);
        locks = new Locks(name, client, nodes, voice);
        others = new Others(client, nodes);
    }

    static Task started(String name, CuratorFramework client, Voice voice) {
        Task task = new Task(name, client, voice);
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        thread.start();
        return task;
    }

    void order(String number, String verb, List<String> rest) {
        orders.add(new Order(number, verb, rest));
    }

    @Override
    public void run() {
        while (true) {
            Order order;
            try {
                order = orders.take();
            } catch (InterruptedException end) {
                return;
            }
            try {
                voice.done(order.number, obey(order.verb, order.rest));
            } catch (Exception error) {
                voice.failed(order.number, error.toString());
            }
        }
    }

    private String obey(String verb, List<String> rest) throws Exception {
        return switch (verb) {
            case "lock" -> locks.lock(rest.get(0), rest.get(1), Long.parseLong(rest.get(2)));
            case "unlock" -> locks.unlock(rest.get(0), rest.get(1));
            case "stress" -> locks.stress(
                    rest.get(0), rest.get(1), rest.get(2), Integer.parseInt(rest.get(3)));
            case "mingle" -> locks.mingle(
                    rest.get(0), rest.get(1), rest.get(2), Integer.parseInt(rest.get(3)));
            case "mingle-permits" -> others.mingle(
                    rest.get(0),
                    Integer.parseInt(rest.get(1)),
                    rest.get(2),
                    Integer.parseInt(rest.get(3)));
            case "revoke" -> locks.revoke(rest.get(0));
            case "permit" -> others.permit(
                    rest.get(0), Integer.parseInt(rest.get(1)), Long.parseLong(rest.get(2)));
            case "return" -> others.giveBack(rest.get(0));
            case "latch" -> others.latch(rest.get(0), rest.get(1));
            case "await" -> others.await(rest.get(0), Long.parseLong(rest.get(1)));
            case "participants" -> others.participants(rest.get(0));
            case "unlatch" -> others.unlatch(rest.get(0));
            case "mkdir" -> nodes.mkdir(rest.get(0));
            case "put" -> nodes.put(rest.get(0), String.join(" ", rest.subList(1, rest.size())));
            case "get" -> nodes.get(rest.get(0));
            case "ls" -> nodes.ls(rest.get(0));
            case "rm" -> nodes.rm(rest.get(0));
            default -> throw new IllegalArgumentException("there is no verb " + verb);
        };
    }
}
