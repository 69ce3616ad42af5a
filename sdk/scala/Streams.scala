package atelier

import java.io.{FileDescriptor, FileOutputStream, IOException, InputStream, OutputStream, PrintStream}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.charset.{CharsetDecoder, CodingErrorAction}
import java.nio.{ByteBuffer, CharBuffer}
import java.util.concurrent.{Executors, Semaphore, ThreadFactory, TimeUnit}

import org.apache.toree.global.ExecuteRequestState
import org.apache.toree.kernel.protocol.v5.content.StreamContent
import org.apache.toree.kernel.protocol.v5.{KMBuilder, KernelMessage}

/** What cells print: both streams, from all threads, in the order in which it was printed. Text belongs to the cell that
  * runs when it is printed, or to the last one. Before the first cell it goes to the process's own stderr.
  */
private[atelier] object Streams {
  /** How long text may wait for more before it is sent, in milliseconds. */
  private val DelayMs = 100L

  /** How much text is sent at once at the latest. */
  private val MostCharacters = 65536

  /** Where a message is given to be published. */
  @volatile var publish: KernelMessage => Unit = (_: KernelMessage) => ()

  private val lock = new Object
  private val text = new StringBuilder
  private var source: Option[Printer] = None
  private var cell: Option[KernelMessage] = None
  private var isDue = false
  private val room = new Semaphore(Wire.MostWaiting)
  private val ownStderr = new FileOutputStream(FileDescriptor.err)
  private val clock = Executors.newSingleThreadScheduledExecutor(new ThreadFactory {
    def newThread(task: Runnable): Thread = {
      val thread = new Thread(task, "atelier-streams")
      thread.setDaemon(true)
      thread
    }
  })

  val out: PrintStream = new PrintStream(new Printer("stdout"), false, UTF_8.name)
  val err: PrintStream = new PrintStream(new Printer("stderr"), false, UTF_8.name)

  /** Send what has been printed so far. */
  def flush(): Unit = lock.synchronized(emit())

  /** A published message has left; where it was text there is room for more of it. */
  def sent(message: KernelMessage): Unit = if (message.header.msg_type == "stream") room.release()

  /** Wait until all text has left, for a while. */
  def drain(): Unit = {
    flush()
    if (room.tryAcquire(Wire.MostWaiting, Wire.CloseMs.toLong, TimeUnit.MILLISECONDS)) room.release(Wire.MostWaiting)
  }

  private def add(printer: Printer, bytes: ByteBuffer): Unit = lock.synchronized {
    val now = ExecuteRequestState.lastKernelMessage
    if (now.isEmpty) ownStderr.write(bytes.array, bytes.arrayOffset + bytes.position(), bytes.remaining)
    else {
      if (text.nonEmpty && (!source.contains(printer) || !sameCell(now))) emit()
      source = Some(printer)
      cell = now
      printer.decode(bytes, text)
      if (text.length >= MostCharacters) emit()
      else if (!isDue) {
        isDue = true
        clock.schedule((() => flush()): Runnable, DelayMs, TimeUnit.MILLISECONDS)
      }
    }
  }

  private def sameCell(other: Option[KernelMessage]): Boolean =
    cell.map(_.header.msg_id) == other.map(_.header.msg_id)

  private def emit(): Unit = {
    isDue = false
    if (text.nonEmpty) {
      val content = StreamContent(source.get.name, text.toString)
      room.acquire()
      text.clear()
      val header = cell.get.header.copy(msg_id = java.util.UUID.randomUUID.toString, msg_type = "stream")
      publish(KMBuilder().withIds(Seq("stream".getBytes(UTF_8))).withParent(cell.get).withHeader(header)
        .withContentString(content).build)
    }
  }

  /** One of the two streams; a character whose bytes come one after the other is held back until it is whole. */
  private final class Printer(val name: String) extends OutputStream {
    private val decoder: CharsetDecoder = UTF_8.newDecoder()
      .onMalformedInput(CodingErrorAction.REPLACE).onUnmappableCharacter(CodingErrorAction.REPLACE)
    private var rest = Array.emptyByteArray

    override def write(byte: Int): Unit = write(Array(byte.toByte), 0, 1)

    override def write(bytes: Array[Byte], from: Int, count: Int): Unit = add(this, ByteBuffer.wrap(bytes, from, count))

    def decode(bytes: ByteBuffer, into: StringBuilder): Unit = {
      val all = ByteBuffer.allocate(rest.length + bytes.remaining).put(rest).put(bytes)
      all.flip()
      val characters = CharBuffer.allocate(all.remaining + 1)
      decoder.reset().decode(all, characters, false)
      rest = new Array[Byte](all.remaining)
      all.get(rest)
      characters.flip()
      into.append(characters)
    }
  }

  /** Standard input of cells: nobody is there to answer, so asking is an error at once. */
  object NoInput extends InputStream {
    override def read(): Int =
      throw new IOException("The cell asked for input, but a run has nobody to answer. Use a parameter instead.")
  }
}
