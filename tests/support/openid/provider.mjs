// A real OpenID provider on loopback. Standard input: its settings as one line of JSON. It ends with its standard input.
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const [line] = await new Promise((done) => createInterface({ input: process.stdin }).once('line', (text) => done([text])));
const settings = JSON.parse(line);
process.stdin.resume().on('end', () => process.exit(0));

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  claims: {
    openid: ['sub'],
    profile: ['preferred_username', 'name'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  pkce: { required: () => true },
  ttl: { AccessToken: 600, IdToken: 600, Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600 },
  rotateRefreshToken: true,
  issueRefreshToken: async () => settings.refresh ?? false,
  conformIdTokenClaims: settings.only_user_info ?? true,
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...settings.users[sub] }) }),
});
provider.proxy = true;
provider.listen(settings.port, '127.0.0.1', () => console.log('ready'));
