/* liblxi as the tests want it: its VXI-11 is a plain connection to the port in FAKE_LXI_PORT. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int lxi_init(void) { return 0; }
EXPORT int lxi_connect(const char* address, int port, const char* name, int timeout, int protocol) {
  (void)port, (void)name, (void)timeout;
  const char* text = getenv("FAKE_LXI_PORT");
  if (protocol != 0 || text == NULL) return -1;
  struct sockaddr_in to;
  memset(&to, 0, sizeof to);
  to.sin_family = AF_INET;
  to.sin_port = htons((unsigned short)atoi(text));
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) return -1;
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(file, (struct sockaddr*)&to, sizeof to) == 0) return file;
  close(file);
  return -1;
}
EXPORT int lxi_send(int file, const char* message, int length, int timeout) {
  (void)timeout;
  return (int)send(file, message, (size_t)length, MSG_NOSIGNAL);
}
EXPORT int lxi_receive(int file, char* message, int length, int timeout) {
  struct pollfd wait = {file, POLLIN, 0};
  if (poll(&wait, 1, timeout) != 1) return -1;
  const int got = (int)recv(file, message, (size_t)length, 0);
  return got > 0 ? got : -1;
}
EXPORT int lxi_disconnect(int file) { return close(file); }
