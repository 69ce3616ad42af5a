package atelier

import java.nio.ByteBuffer
import java.nio.channels.Pipe
import java.nio.charset.StandardCharsets.UTF_8
import java.security.MessageDigest
import java.util.concurrent.{ConcurrentLinkedQueue, LinkedBlockingQueue}
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

import akka.actor.ActorRef
import akka.util.ByteString
import org.apache.toree.communication.ZMQMessage
import org.apache.toree.kernel.protocol.v5.KernelMessage
import org.apache.toree.kernel.protocol.v5.kernel.Utilities
import org.apache.toree.kernel.protocol.v5.kernel.socket.SocketConfig
import org.slf4j.LoggerFactory
import org.zeromq.ZMQ

import scala.collection.mutable
import scala.util.control.NonFatal

/** The kernel's sockets. One thread serves requests, another publishes, and both wait without using the processor:
  * Toree's own threads look at each of five sockets a thousand times a second. Messages leave in the order in which they
  * are given, and a publisher waits for a reader that is slower, where Toree's drops what is too much.
  */
private[atelier] final class Wire(config: SocketConfig, sent: KernelMessage => Unit) {
  private val logger = LoggerFactory.getLogger(getClass)
  private val context = ZMQ.context(1)
  private val shell = made(ZMQ.ROUTER)
  private val control = made(ZMQ.ROUTER)
  private val stdin = made(ZMQ.ROUTER)
  private val heartbeat = made(ZMQ.REP)
  private val publisher = made(ZMQ.PUB)
  private val replies = new ConcurrentLinkedQueue[(ZMQ.Socket, Seq[Array[Byte]])]
  private val published = new LinkedBlockingQueue[Option[KernelMessage]]
  private val wake = Pipe.open()
  private val threads = Seq(new Thread(() => serve(), "atelier-requests"), new Thread(() => publish(), "atelier-iopub"))
  @volatile private var relay: Option[ActorRef] = None
  @volatile private var closing = false

  /** Begin; what comes in goes to Toree's relay, once that can take it: nobody asks a kernel that is not there yet. */
  def open(to: ActorRef): Unit = {
    relay = Some(to)
    for ((socket, port) <- Seq(
        shell -> config.shell_port, control -> config.control_port, stdin -> config.stdin_port,
        heartbeat -> config.hb_port, publisher -> config.iopub_port
      )) socket.bind(s"${config.transport}://${config.ip}:$port")
    threads.foreach { thread => thread.setDaemon(true); thread.start() }
  }

  /** Have a message sent by the socket that its type belongs to; `sent` is called when a published one has gone. */
  def send(message: KernelMessage): Unit = message.header.msg_type match {
    case "shutdown_reply"                => reply(control, message)
    case "input_request"                 => reply(stdin, message)
    case kind if kind.endsWith("_reply") => reply(shell, message)
    case _                               => published.put(Some(message))
  }

  /** Send what was given so far, then end. */
  def close(): Unit = {
    published.put(None)
    closing = true
    wakeUp()
    threads.foreach(_.join(Wire.CloseMs))
    if (!threads.exists(_.isAlive)) context.term()
  }

  private def made(kind: Int): ZMQ.Socket = {
    val socket = context.socket(kind)
    socket.setLinger(Wire.CloseMs)
    if (kind == ZMQ.PUB) {
      socket.setSndHWM(Wire.MostWaiting)
      socket.setXpubNoDrop(true)
    }
    socket
  }

  private def reply(socket: ZMQ.Socket, message: KernelMessage): Unit = {
    replies.add((socket, frames(message)))
    wakeUp()
  }

  private def wakeUp(): Unit = wake.sink().synchronized { wake.sink().write(ByteBuffer.allocate(1)) }

  private def serve(): Unit = {
    val requests = Seq(shell, control, stdin)
    val poller = context.poller(requests.size + 2)
    wake.source().configureBlocking(false)
    (requests :+ heartbeat).foreach(poller.register(_, ZMQ.Poller.POLLIN))
    poller.register(wake.source(), ZMQ.Poller.POLLIN)
    val woken = ByteBuffer.allocate(4096)
    while (!closing || !replies.isEmpty) {
      if (replies.isEmpty) poller.poll(-1)
      woken.clear()
      wake.source().read(woken)
      Iterator.continually(replies.poll()).takeWhile(_ != null).foreach { case (socket, parts) => Wire.send(socket, parts) }
      Wire.receive(heartbeat).foreach(Wire.send(heartbeat, _))
      for (socket <- requests; parts <- Iterator.continually(Wire.receive(socket)).takeWhile(_.isDefined)) take(parts.get)
    }
    (requests :+ heartbeat).foreach(_.close())
  }

  private def publish(): Unit = {
    Iterator.continually(published.take()).takeWhile(_.isDefined).flatten.foreach { message =>
      Wire.send(publisher, frames(message))
      sent(message)
    }
    publisher.close()
  }

  private def take(parts: Seq[Array[Byte]]): Unit =
    try {
      val signed = parts.drop(parts.indexWhere(new String(_, UTF_8) == Wire.Delimiter) + 1)
      if (MessageDigest.isEqual(signature(signed.slice(1, 5)), signed.head)) {
        val message = Utilities.ZMQMessageToKernelMessage(ZMQMessage(parts.map(ByteString(_)): _*))
        relay.foreach(_ ! ((signed.slice(1, 5).map(new String(_, UTF_8)), message)))
      } else logger.warn("a message without a valid signature is ignored")
    } catch {
      case NonFatal(error) => logger.warn("a message that cannot be read is ignored", error)
    }

  private def frames(message: KernelMessage): Seq[Array[Byte]] = {
    val parts = Utilities.KernelMessageToZMQMessage(message).frames.map(_.toArray)
    parts.updated(parts.size - 5, signature(parts.takeRight(4)))
  }

  private def signature(parts: Seq[Array[Byte]]): Array[Byte] = {
    val mac = Mac.getInstance("HmacSHA256")
    mac.init(new SecretKeySpec(config.key.getBytes(UTF_8), "HmacSHA256"))
    parts.foreach(mac.update)
    mac.doFinal().map(byte => f"$byte%02x").mkString.getBytes(UTF_8)
  }
}

private[atelier] object Wire {
  val Delimiter = "<IDS|MSG>"

  /** How many published messages wait for a reader at each stop on their way. */
  val MostWaiting = 100

  /** How long the last messages may take to leave, in milliseconds. */
  val CloseMs = 1000

  private def receive(socket: ZMQ.Socket): Option[Seq[Array[Byte]]] =
    Option(socket.recv(ZMQ.DONTWAIT)).map { first =>
      val parts = mutable.ArrayBuffer(first)
      while (socket.hasReceiveMore) parts += socket.recv()
      parts
    }

  private def send(socket: ZMQ.Socket, parts: Seq[Array[Byte]]): Unit =
    parts.zipWithIndex.foreach { case (part, at) => socket.send(part, if (at < parts.size - 1) ZMQ.SNDMORE else 0) }
}
