package interop;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Standard output, a whole line at a time, from any thread. */
final class Voice {
    private final PrintStream out =
            new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    /** An order was carried out, and this came of it. */
    void done(String number, String answer) {
        say(number + " ok " + answer);
    }

    /** An order could not be carried out. */
    void failed(String number, String why) {
        say(number + " failed " + why);
    }

    /** Something that nobody asked for. */
    void news(String what) {
        say("! " + what);
    }

    private synchronized void say(String line) {
        out.print(line.replace('\n', ' ').replace('\r', ' ') + "\n");
        out.flush();
    }
}
