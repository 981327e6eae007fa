import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;

/** A stop on the trip, in Java: nothing but the JDK, run from its source. */
public class Main {
    static final String ME = "java";
    static final List<String> PASSED_ON = List.of(
            "traceparent", "tracestate", "x-request-id", "madang-timeout", "madang-principal");
    static final Pattern STOPS = Pattern.compile("\"stops\":\\s*\\[(.*)]", Pattern.DOTALL);
    static final Pattern REASON = Pattern.compile("\"(?:detail|error)\":\\s*\"((?:[^\"\\\\]|\\\\.)*)\"");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /** The trip ends here. */
    static class Lost extends Exception {
        final int status;

        Lost(int status, String message) {
            super(message);
            this.status = status;
        }
    }

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        }));
        server.createContext("/", Main::answer);
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(5)));
        System.out.println(ME + " listens on " + port);
    }

    static void answer(HttpExchange exchange) throws IOException {
        List<String> path = Arrays.stream(exchange.getRequestURI().getPath().split("/"))
                .filter(part -> !part.isEmpty()).toList();
        if (path.equals(List.of("healthz"))) {
            say(exchange, 200, "{\"ready\": true}");
        } else if (path.size() < 2 || !path.subList(0, 2).equals(List.of(ME, "trip"))) {
            say(exchange, 404, "{\"error\": \"ask for /" + ME + "/trip\"}");
        } else {
            try {
                String here = "{\"service\": \"" + ME + "\", \"language\": \"Java " + Runtime.version() + "\"}";
                String rest = onward(path.subList(2, path.size()), exchange);
                say(exchange, 200, "{\"stops\": [" + here + (rest.isEmpty() ? "" : ", " + rest) + "]}");
            } catch (Lost lost) {
                say(exchange, lost.status, "{\"error\": \"" + ME + ": " + lost.getMessage() + "\"}");
            }
        }
    }

    /** The stops after this one: the next is where its variable says, and it is asked for the rest. */
    static String onward(List<String> stops, HttpExchange exchange) throws IOException, Lost {
        if (stops.isEmpty()) {
            return "";
        }
        String next = stops.get(0);
        String url = System.getenv(next.toUpperCase() + "_URL");
        if (url == null) {
            throw new Lost(404, ME + " declares no calls to " + next);
        }
        String rest = String.join("/", stops.subList(1, stops.size()));
        URI uri = URI.create(url + "/" + next + "/trip" + (rest.isEmpty() ? "" : "/" + rest));
        HttpRequest.Builder request = HttpRequest.newBuilder(uri);
        for (String name : PASSED_ON) {
            String value = exchange.getRequestHeaders().getFirst(name);
            if (value != null) {
                request.header(name, value);
            }
        }
        try {
            var answer = CLIENT.send(request.build(), BodyHandlers.ofString());
            var found = (answer.statusCode() == 200 ? STOPS : REASON).matcher(answer.body());
            String said = found.find() ? found.group(1) : answer.body();
            if (answer.statusCode() != 200) {
                throw new Lost(answer.statusCode(), said);
            }
            return said;
        } catch (InterruptedException error) {
            throw new Lost(503, "stopping");
        } catch (IOException error) {
            throw new Lost(502, next + " does not answer");
        }
    }

    static void say(HttpExchange exchange, int status, String body) throws IOException {
        byte[] bytes = (body + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        try (var out = exchange.getResponseBody()) {
            out.write(bytes);
        }
    }
}
