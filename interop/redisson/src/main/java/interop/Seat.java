package interop;

import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.redisson.api.RedissonClient;

/** A thread that carries out its orders one after the other. */
final class Seat implements Runnable {
    private record Order(String number, String verb, List<String> rest) {}

    private final BlockingQueue<Order> orders = new LinkedBlockingQueue<>();
    private final Voice voice;
    private final Locks locks;

    private Seat(RedissonClient client, Voice voice) {
        this.voice = voice;
        locks = new Locks(client);
    }

    static Seat started(String name, RedissonClient client, Voice voice) {
        Seat seat = new Seat(client, voice);
        Thread thread = new Thread(seat, name);
        thread.setDaemon(true);
        thread.start();
        return seat;
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
            case "lock" -> locks.lock(
                    rest.get(0),
                    rest.get(1),
                    Long.parseLong(rest.get(2)),
                    rest.size() > 3 ? Long.parseLong(rest.get(3)) : Locks.WATCHDOG);
            case "unlock" -> locks.unlock(rest.get(0), rest.get(1));
            case "stress" -> locks.stress(
                    rest.get(0), rest.get(1), rest.get(2), Integer.parseInt(rest.get(3)));
            case "mingle" -> locks.mingle(
                    rest.get(0), rest.get(1), rest.get(2), Integer.parseInt(rest.get(3)));
            default -> throw new IllegalArgumentException("there is no verb " + verb);
        };
    }
}
