package shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A web app without a line of telemetry in it: the Java agent puts it there. */
public final class App {
  private static final Logger LOG = Logger.getLogger("shop");

  public static void main(String[] arguments) throws IOException {
    var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/items", exchange -> {
      LOG.log(Level.WARNING, "{0} was asked for", exchange.getRequestURI().getPath());
      answer(exchange, 200);
    });
    server.createContext("/checkout", exchange -> {
      LOG.log(Level.SEVERE, "checkout failed", new IllegalStateException("card declined"));
      answer(exchange, 500);
    });
    server.createContext("/stop", exchange -> {
      answer(exchange, 200);
      new Thread(() -> System.exit(0)).start();
    });
    server.start();
    System.out.println("listening " + server.getAddress().getPort());
  }

  private static void answer(HttpExchange exchange, int status) throws IOException {
    exchange.sendResponseHeaders(status, -1);
    exchange.close();
  }
}
