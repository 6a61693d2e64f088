// Asks the security key to confirm what a form says, writes its answer into the form, and sends the form.
// The page decides nothing by itself: the command that serves it checks the answer.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
const WAIT_MS = 120000;

async function challenge(form) {
  const response = await fetch(form.dataset.ask, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.trouble);
  return answer;
}

async function confirmDecision(asked) {
  const given = await navigator.credentials.get({
    publicKey: {
      rpId: location.hostname,
      challenge: bytes(asked.challenge),
      allowCredentials: [{ type: "public-key", id: bytes(asked.credential) }],
      userVerification: "required",
      timeout: WAIT_MS,
    },
  });
  const { authenticatorData, clientDataJSON, signature } = given.response;
  return { authenticator_data: authenticatorData, client_data: clientDataJSON, signature };
}

async function makeKey(asked) {
  const made = await navigator.credentials.create({
    publicKey: {
      rp: { id: location.hostname, name: "Consortia decisions" },
      user: { id: bytes(asked.user), name: asked.person, displayName: asked.person },
      challenge: bytes(asked.challenge),
      pubKeyCredParams: asked.algorithms.map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: {
        authenticatorAttachment: "cross-platform",
        residentKey: "discouraged",
        userVerification: "required",
      },
      attestation: "none",
      timeout: WAIT_MS,
    },
  });
  return { attestation_object: made.response.attestationObject, client_data: made.response.clientDataJSON };
}

const status = document.getElementById("touch");

async function touch(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  button.disabled = true;
  status.textContent = "Touch your security key now.";
  try {
    const asked = await challenge(form);
    const answer = await (form.dataset.touch === "get" ? confirmDecision(asked) : makeKey(asked));
    for (const [name, value] of Object.entries(answer)) form.elements[name].value = text(value);
    form.submit();
  } catch (error) {
    // Cancelled, timed out, wrong key: browsers tell pages no more than that.
    const refused = error instanceof DOMException;
    status.textContent = refused ? "The security key gave no answer. Nothing was decided; try again." : error.message;
    button.disabled = false;
    button.focus();
  }
}

// Until here the page says that its script is missing.
status.textContent = status.dataset.ready;
for (const form of document.querySelectorAll("form[data-touch]")) form.addEventListener("submit", touch);
