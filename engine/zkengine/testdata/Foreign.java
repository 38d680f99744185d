// Foreign holds locks by Curator's recipes for the tests of engine/zkengine. It reads
// commands from stdin, a line each, and answers with lines:
//
//	acquire KIND PATH ID   granted ID, when it is
//	release ID             released ID

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.retry.RetryOneTime;

public class Foreign {
    static final Map<String, CountDownLatch> held = new ConcurrentHashMap<>();

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], 60000, 30000, new RetryOneTime(100));
        client.start();
        client.blockUntilConnected();
        say("ready");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] f = line.split(" ");
            if (f[0].equals("acquire")) {
                CountDownLatch release = new CountDownLatch(1);
                held.put(f[3], release);
                new Thread(() -> hold(client, f[1], f[2], f[3], release)).start();
            } else {
                held.get(f[1]).countDown();
            }
        }
        System.exit(0);
    }

    static void hold(CuratorFramework client, String kind, String path, String id, CountDownLatch release) {
        try {
            if (kind.equals("leader")) {
                lead(client, path, id, release);
                return;
            }
            InterProcessMutex lock = switch (kind) {
                case "mutex" -> new InterProcessMutex(client, path);
                case "read" -> new InterProcessReadWriteLock(client, path).readLock();
                default -> new InterProcessReadWriteLock(client, path).writeLock();
            };
            lock.acquire();
            say("granted " + id);
            release.await();
            lock.release();
            say("released " + id);
        } catch (Exception e) {
            say("failed " + id + " " + e);
        }
    }

    static void lead(CuratorFramework client, String path, String id, CountDownLatch release) {
        CountDownLatch over = new CountDownLatch(1);
        LeaderSelector selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework c) throws Exception {
                say("granted " + id);
                release.await();
                over.countDown();
            }
        });
        selector.start();
        new Thread(() -> {
            try {
                over.await();
                selector.close();
                say("released " + id);
            } catch (Exception e) {
                say("failed " + id + " " + e);
            }
        }).start();
    }
}
