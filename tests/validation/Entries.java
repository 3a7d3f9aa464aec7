import java.io.FileInputStream;
import java.io.InputStream;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Prints, of each archive named on standard input, what Java's two readers see in it: a line per archive and reader. */
public class Entries {
    public static void main(String[] none) throws Exception {
        for (String path : new String(System.in.readAllBytes()).split("\n")) {
            System.out.println(path + "\tstream\t" + seen(() -> stream(path)));
            System.out.println(path + "\tfile\t" + seen(() -> file(path)));
        }
    }

    interface Reading {
        List<String> get() throws Exception;
    }

    static String seen(Reading reading) {
        try {
            return reading.get().stream().sorted().collect(Collectors.joining(" "));
        } catch (Exception e) {
            return "! " + String.valueOf(e.getMessage()).replaceAll("[^ -~]", "?");
        }
    }

    static List<String> stream(String path) throws Exception {
        List<String> found = new ArrayList<>();
        try (ZipInputStream zip = new ZipInputStream(new FileInputStream(path))) {
            for (ZipEntry entry; (entry = zip.getNextEntry()) != null;) {
                found.add(line(entry, zip));
            }
        }
        return found;
    }

    static List<String> file(String path) throws Exception {
        List<String> found = new ArrayList<>();
        try (ZipFile zip = new ZipFile(path)) {
            for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements();) {
                ZipEntry entry = zip.getEntry(all.nextElement().getName()); // as who asks by name
                try (InputStream body = zip.getInputStream(entry)) {
                    found.add(line(entry, body));
                }
            }
        }
        return found;
    }

    static String line(ZipEntry entry, InputStream body) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] block = new byte[65536];
        for (int n; (n = body.read(block)) > 0;) {
            digest.update(block, 0, n);
        }
        String name = HexFormat.of().formatHex(entry.getName().getBytes("UTF-8"));
        return name + ":" + HexFormat.of().formatHex(digest.digest()).substring(0, 16);
    }
}
