// A certified OpenID provider, as a stranger to Madang: its own log-in pages, its own keys, tokens of access as JWTs.

const http = require("node:http");
const { Provider } = require("oidc-provider");

const [port, gateway] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "gateway",
      client_secret: process.env.SECRET,
      redirect_uris: [`${gateway}/.madang/callback`],
      post_logout_redirect_uris: [`${gateway}/`],
      grant_types: ["authorization_code", "refresh_token"],
    },
    {
      client_id: "robot",
      client_secret: "robots",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  scopes: ["openid", "offline_access", "orders"],
  claims: { openid: ["sub", "name"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `The ${id}` }) }),
  extraTokenClaims: () => ({ groups: ["clerk"] }),
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600, RefreshToken: 600 },
  features: {
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, __, asked) => asked || "urn:shop",
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "orders",
        audience: resource.replace("urn:", ""),
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  cookies: { keys: ["of the test"] },
});

http.createServer(provider.callback()).listen(port, "127.0.0.1");
