// js-libp2p uses what Node.js has from version 22 on. Version 20 lacks only this.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((a, b) => { [resolve, reject] = [a, b] })
  return { promise, resolve, reject }
}
